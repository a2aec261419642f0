package otphttp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/go-mailotp/otp/internal/oneline"
)

// maxNext is the longest path to go on to, in bytes.
const maxNext = 1024

// Next is for [Options.OnVerified]: the path on this site that the visitor wanted
// when the flow began, as the form brought it along, else fallback. It never leads
// to another site.
func Next(r *http.Request, fallback string) string {
	if next := local(r.PostForm.Get("next")); next != "" {
		return next
	}
	return fallback
}

// local returns path if it is one on this site, else nothing.
func local(path string) string {
	if !isLocal(path) {
		return ""
	}
	return path
}

// isLocal reports whether every browser takes path for one on this site: they
// read a backslash as a slash and leave out tabs and line breaks (WHATWG URL 4.4).
func isLocal(path string) bool {
	if len(path) > maxNext || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) || oneline.Check(path) != nil {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && u.Opaque == ""
}
