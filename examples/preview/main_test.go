package main

import (
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/letter"
)

func TestHandler(t *testing.T) {
	letters, err := letter.New(nil)
	require.NoError(t, err)
	samples := sampler{letters, "Acme", "help desk"}
	for query, mails := range map[string]int{
		"":                             len(letters.Languages()),
		"?language=en":                 len(letters.Kinds()),
		"?kind=pay&scheme=dark":        len(letters.Languages()),
		"?language=xx&width=nonsense":  len(letters.Languages()),
		"?language=en&code=K7M2QX94TR": len(letters.Kinds()),
	} {
		w := httptest.NewRecorder()
		handler(samples).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+query, nil))
		require.Equal(t, http.StatusOK, w.Code)
		body := w.Body.String()
		require.Equal(t, mails, strings.Count(body, "<iframe sandbox srcdoc="), query)
		require.Equal(t, strings.Contains(query, "dark"), strings.Contains(body, "color-scheme: dark;"))
		require.NotContains(t, body, "ZgotmplZ")
	}
	w := httptest.NewRecorder()
	handler(samples).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?code=not+a+code", nil))
	require.Equal(t, http.StatusBadRequest, w.Code)
}

func TestOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mails")
	own := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(own, "words"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(own, "words", "en.json"), []byte(`{"support": "Call {support}"}`), 0o644))
	require.NoError(t, run([]string{"-out", dir, "-files", own, "-brand", "My Shop"}))
	text, err := os.ReadFile(filepath.Join(dir, "en-login.txt"))
	require.NoError(t, err)
	require.Contains(t, string(text), "\nCall +49")
	require.Contains(t, string(text), "sign in to My Shop")
	page, err := os.ReadFile(filepath.Join(dir, "en-other.html"))
	require.NoError(t, err)

	f, err := os.Open(filepath.Join(dir, "en-other.eml"))
	require.NoError(t, err)
	defer f.Close()
	m, err := mail.ReadMessage(f)
	require.NoError(t, err)
	require.Equal(t, "Your My Shop verification code", m.Header.Get("Subject"))
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(m.Body, params["boundary"])
	part, err := parts.NextPart()
	require.NoError(t, err)
	require.Contains(t, part.Header.Get("Content-Type"), "text/plain")
	part, err = parts.NextPart()
	require.NoError(t, err)
	decoded, err := io.ReadAll(part)
	require.NoError(t, err)
	require.Equal(t, string(page), strings.ReplaceAll(string(decoded), "\r\n", "\n"))

	require.Error(t, run([]string{"-files", t.TempDir()}))
	require.Error(t, run([]string{"-nonsense"}))
	require.ErrorContains(t, run([]string{"-out", dir, "-support", "+493090182000"}), "support: contains six digits")
}
