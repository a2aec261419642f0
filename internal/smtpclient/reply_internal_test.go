package smtpclient

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

func TestReadReply(t *testing.T) {
	for said, want := range map[string]reply{
		"250 ok\r\n":                            {250, "ok"},
		"250 ok\n":                              {250, "ok"},
		"250\r\n":                               {250, ""},
		"250 \r\n":                              {250, ""},
		"250\tok\r\n":                           {250, "ok"},
		"250-a\r\n250-b\r\n250 c\r\n":           {250, "a\nb\nc"},
		"250-a\r\n250\r\n":                      {250, "a\n"},
		"220-\r\n220 x\r\n":                     {220, "\nx"},
		"550-5.1.1 a\r\nno code\r\n550 5.1.1 b": {},
		"550-a\r\nno code\r\n550 b\r\n":         {550, "a\nno code\nb"},
		"550-a\r\n250 no end\r\n550 b\r\n":      {550, "a\n250 no end\nb"},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(said)))
		if want.code == 0 {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%q", said)
			continue
		}
		require.NoError(t, err, "%q", said)
		require.Equal(t, want, got, "%q", said)
	}
	for said, want := range map[string]error{
		"": io.EOF, "250 ok": io.ErrUnexpectedEOF, "250-a\r\n": io.ErrUnexpectedEOF,
		"\r\n": errReplyForm, "25\r\n": errReplyForm, "2500 ok\r\n": errReplyForm, "250ok\r\n": errReplyForm, "+25 ok\r\n": errReplyForm, "150 ok\r\n": errReplyForm, "650 ok\r\n": errReplyForm,
	} {
		_, err := readReply(bufio.NewReader(strings.NewReader(said)))
		require.ErrorIs(t, err, want, "%q", said)
	}
}

func TestReply_err(t *testing.T) {
	require.NoError(t, reply{250, ""}.err(250))
	require.NoError(t, reply{251, ""}.err(25))
	require.ErrorIs(t, reply{251, ""}.err(250), errReplyForm)
	require.ErrorIs(t, reply{354, ""}.err(250), errReplyForm)
	require.Equal(t, &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no\nsuch user"}, reply{550, "5.1.1 no\n5.1.1 such user"}.err(250))
	require.Equal(t, &smtp.SMTPError{Code: 451, Message: "later"}, reply{451, "later"}.err(250))
}

// What servers out there answer to EHLO.
func TestParseExtensions(t *testing.T) {
	for text, want := range map[string]extensions{
		"hi":                                  {},
		"PIPELINING":                          {}, // the first line is a name
		"hi\nPIPELINING\nCHUNKING\nSMTPUTF8":  {pipelining: true, chunking: true, utf8: true},
		"hi\npipelining\nStartTls":            {pipelining: true, startTLS: true},
		"hi\nSTARTTLS \nSIZE 100":             {startTLS: true},
		"hi\nAUTH PLAIN LOGIN":                {auth: true, mechanisms: []string{"PLAIN", "LOGIN"}},
		"hi\nauth\tplain\t login":             {auth: true, mechanisms: []string{"PLAIN", "LOGIN"}},
		"hi\nAUTH LOGIN\nAUTH PLAIN LOGIN":    {auth: true, mechanisms: []string{"LOGIN", "PLAIN"}},
		"hi\nAUTH=LOGIN PLAIN":                {auth: true, mechanisms: []string{"LOGIN", "PLAIN"}},
		"hi\nAUTH":                            {auth: true},
		"hi\n\n \nX-AUTH PLAIN\nSTARTTLS=yes": {},
	} {
		require.Equal(t, want, parseExtensions(text), "%q", text)
	}
}
