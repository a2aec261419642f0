package main

import (
	"html/template"
	"net/http"
	"slices"

	"github.com/go-mailotp/otp/letter"
)

// overview shows all mails of one language, or the mails of one kind in all
// languages.
var overview = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mails</title>
<style>
body { margin: 0; font-family: system-ui, sans-serif; background: #d9dce1; color: #111; }
form { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: 1rem; padding: .75rem 1rem; background: #fff; }
main { display: flex; flex-wrap: wrap; gap: 1rem; padding: 1rem; }
section { width: {{.Width}}px; max-width: 95vw; }
h2, p { margin: 0 0 .25rem; font-size: 1rem; }
iframe { display: block; width: 100%; height: {{if eq .Width "640"}}640{{else}}960{{end}}px; border: 0; color-scheme: {{.Scheme}}; }
pre { margin: 0; padding: .5rem; white-space: pre-wrap; overflow-wrap: anywhere; background: Canvas; color: CanvasText; color-scheme: {{.Scheme}}; unicode-bidi: plaintext; }
</style>
</head>
<body>
<form>
<label>Language <select name="language"><option value="">all</option>{{range .Languages}}<option{{if eq . $.Language}} selected{{end}}>{{.}}</option>{{end}}</select></label>
<label>Kind, for all languages <select name="kind">{{range .Kinds}}<option value="{{.}}"{{if eq . $.Kind}} selected{{end}}>{{or . "(other)"}}</option>{{end}}</select></label>
<label>Screen <select name="scheme"><option>light</option><option{{if eq .Scheme "dark"}} selected{{end}}>dark</option></select></label>
<label>Width <select name="width"><option>320</option><option{{if eq .Width "640"}} selected{{end}}>640</option></select></label>
<label>Code <input name="code" value="{{.Code}}" size="16"></label>
<button>Show</button>
</form>
<main>
{{range .Mails}}<section lang="{{.Language}}">
<h2 lang="en">{{.Language}}, {{or .Kind "(other)"}}</h2>
<p dir="auto">{{.Mail.Subject}}</p>
<iframe sandbox srcdoc="{{.Mail.HTML}}" title="HTML"></iframe>
<pre dir="auto">{{.Mail.Text}}</pre>
</section>
{{end}}</main>
</body>
</html>
`))

// shown is one mail on the page.
type shown struct {
	Language, Kind string
	Mail           letter.Mail
}

// handler serves the overview page.
func handler(samples sampler) http.Handler {
	languages, kinds := samples.letters.Languages(), samples.letters.Kinds()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		choice := func(name string, from ...string) string {
			if v := query.Get(name); slices.Contains(from, v) {
				return v
			}
			return from[0]
		}
		page := struct {
			Languages, Kinds                    []string
			Language, Kind, Scheme, Width, Code string
			Mails                               []shown
		}{
			Languages: languages,
			Kinds:     kinds,
			Language:  choice("language", append([]string{""}, languages...)...),
			Kind:      choice("kind", kinds...),
			Scheme:    choice("scheme", "light", "dark"),
			Width:     choice("width", "320", "640"),
			Code:      query.Get("code"),
		}
		if page.Code == "" {
			page.Code = "042137"
		}
		forLanguages, forKinds := languages, []string{page.Kind}
		if page.Language != "" {
			forLanguages, forKinds = []string{page.Language}, kinds
		}
		for _, language := range forLanguages {
			for _, kind := range forKinds {
				mail, err := samples.mail(language, kind, page.Code)
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
				page.Mails = append(page.Mails, shown{language, kind, mail})
			}
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = overview.Execute(w, page) // fails if the client has disconnected
	})
}
