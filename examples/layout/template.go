package layout

import (
	"html/template"
	"net/http"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

var site = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{.Page.TabTitle}}</title><link rel="stylesheet" href="/site.css"></head>
<body>
<header>Example, {{.User}}</header>
<main lang="{{.Page.Lang}}" dir="{{.Page.Dir}}"><h1>{{.Page.Title}}</h1>{{.Page.Body}}</main>
</body>
</html>`))

// WithTemplate returns the pages inside a layout of html/template.
func WithTemplate(v *otp.Verifier) (*otphttp.Handler, error) {
	return pages(v, func(w http.ResponseWriter, r *http.Request, p otphttp.Page) error {
		return site.Execute(w, map[string]any{"User": user(r), "Page": p})
	})
}
