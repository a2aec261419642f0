package smtpclient

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// reply is one reply of the server. The lines of text are separated by "\n".
type reply struct {
	code int
	text string
}

// readReply reads a reply (RFC 5321 section 4.2). Lines may end in a bare LF, and
// three digits alone are a reply, since some servers send that.
func readReply(in *bufio.Reader) (r reply, err error) {
	var lines []string
	for more := true; more; {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) && (line != "" || lines != nil) {
				err = io.ErrUnexpectedEOF
			}
			return reply{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		code, text, follows, ok := cutCode(line)
		switch {
		case lines == nil && !ok:
			return reply{}, errReplyForm
		case lines == nil:
			r.code, more = code, follows
		case ok && code == r.code:
			more = follows
		default:
			text = line // some servers forget the code of a line in between
		}
		lines = append(lines, text)
	}
	r.text = strings.Join(lines, "\n")
	return r, nil
}

// cutCode splits a line of a reply. more is true if another line follows.
func cutCode(line string) (code int, text string, more, ok bool) {
	if len(line) < 3 {
		return 0, "", false, false
	}
	for _, digit := range line[:3] {
		if digit < '0' || digit > '9' {
			return 0, "", false, false
		}
		code = 10*code + int(digit-'0')
	}
	switch {
	case code < 200 || code > 599:
		return 0, "", false, false
	case len(line) == 3:
		return code, "", false, true
	case line[3] == ' ', line[3] == '\t', line[3] == '-':
		return code, line[4:], line[3] == '-', true
	}
	return 0, "", false, false
}

// err returns nil if the code begins with want, an *smtp.SMTPError if the server
// refuses, and errReplyForm if the reply is out of step.
func (r reply) err(want int) error {
	code := r.code
	for code > want {
		code /= 10
	}
	switch {
	case code == want:
		return nil
	case r.code >= 400:
		return refusal(r.code, r.text)
	}
	return errReplyForm
}

// refusal converts a reply and separates its enhanced code (RFC 2034), which is
// at the beginning of each line, from the text.
func refusal(code int, text string) *smtp.SMTPError {
	refused := &smtp.SMTPError{Code: code, Message: text}
	prefix, _, found := strings.Cut(text, " ")
	var enhanced smtp.EnhancedCode
	parts := strings.Split(prefix, ".")
	if !found || len(parts) != len(enhanced) {
		return refused
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return refused
		}
		enhanced[i] = int(n)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], prefix+" ")
	}
	refused.EnhancedCode, refused.Message = enhanced, strings.Join(lines, "\n")
	return refused
}

// extensions are what the server offers in its reply to EHLO.
type extensions struct {
	startTLS, pipelining, chunking, utf8 bool

	auth       bool
	mechanisms []string // in upper case
}

// parseExtensions reads the text of a reply to EHLO. Keywords may be written in
// any case and be followed by tabs. Several lines of AUTH add up, and so does the
// AUTH= of old servers.
func parseExtensions(text string) (x extensions) {
	_, rest, _ := strings.Cut(text, "\n") // the first line is the name of the server
	for line := range strings.Lines(rest) {
		fields := strings.Fields(strings.ToUpper(line))
		if len(fields) == 0 {
			continue
		}
		keyword, value, equals := strings.Cut(fields[0], "=")
		switch {
		case keyword == "AUTH":
			x.auth = true
			for _, name := range append([]string{value}, fields[1:]...) {
				if name != "" && !slices.Contains(x.mechanisms, name) {
					x.mechanisms = append(x.mechanisms, name)
				}
			}
		case equals:
		case keyword == "STARTTLS":
			x.startTLS = true
		case keyword == "PIPELINING":
			x.pipelining = true
		case keyword == "CHUNKING":
			x.chunking = true
		case keyword == "SMTPUTF8":
			x.utf8 = true
		}
	}
	return x
}
