package otphttp

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-mailotp/otp/internal/safetext"
)

// maxNext is the longest path to continue at, in bytes, with escapes.
const maxNext = 1024

// Next returns the path on this site that the visitor wanted when the flow
// began, or fallback if the form names none. It never leads to another site.
// Use it in [Options.OnVerified].
func Next(r *http.Request, fallback string) string {
	if next := local(r.PostForm.Get("next")); next != "" {
		return next
	}
	return fallback
}

// local returns path, escaped for a header (RFC 3986 2.5), or "" if it is not a
// path on this site.
func local(path string) string {
	if !isLocal(path) {
		return ""
	}
	// Byte by byte, so that existing escapes stay as they are.
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

// local is like the function, without the pages of the handler itself: somebody
// who has signed in would be asked again.
func (x *exchange) local(path string) string {
	next := local(path)
	if next == "" && len(path) > maxNext {
		x.reportOnce(&x.h.tooLong, fmt.Errorf("otphttp: the path in \"next\" was dropped: it may have at most %d bytes", maxNext))
	}
	here, _, _ := strings.Cut(next, "?")
	if below, ok := strings.CutPrefix(strings.TrimSuffix(here, "/")+"/", x.path); ok && x.path != "" {
		switch strings.TrimSuffix(below, "/") {
		case "", "code", "start", "check", "resend":
			return ""
		}
	}
	return next
}

// isLocal reports whether path is on this site for every browser. Browsers read
// a backslash as a slash and ignore tabs and line breaks (WHATWG URL 4.4).
func isLocal(path string) bool {
	if len(path) > maxNext || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) || safetext.Check(path) != nil {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && u.Opaque == "" && !hasDots(u.Path)
}

// hasDots reports whether a path has a segment "." or "..": browsers resolve it,
// so the path leads elsewhere than it says (WHATWG URL 4.4, also as %2e).
func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
