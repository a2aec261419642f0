package otphttp

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-mailotp/otp/internal/safetext"
)

// maxNext is the longest path to go on to, in bytes, escaped.
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

// local returns path if it is one on this site, as a header may hold it (RFC 3986
// 2.5), else nothing.
func local(path string) string {
	if !isLocal(path) {
		return ""
	}
	// Byte by byte: what the path says already in escapes must stay in them.
	var b strings.Builder
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > maxNext {
		return ""
	}
	return b.String()
}

// isLocal reports whether every browser takes path for one on this site: they
// read a backslash as a slash and leave out tabs and line breaks (WHATWG URL 4.4).
func isLocal(path string) bool {
	if len(path) > maxNext || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) || safetext.Check(path) != nil {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && u.Opaque == ""
}
