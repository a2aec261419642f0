package layout

import (
	"io"
	"net/http"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// WithGomponents returns the pages drawn by gomponents. Each step has a form or two,
// and every form has the fields of Page.Hidden.
func WithGomponents(v *otp.Verifier) (*otphttp.Handler, error) {
	return pages(v, func(w http.ResponseWriter, r *http.Request, p otphttp.Page) error {
		return shell(user(r), p, step(p)).Render(w)
	})
}

// shell is the layout of all pages of the application.
func shell(user string, p otphttp.Page, content g.Node) g.Node {
	return h.Doctype(h.HTML(h.Lang(p.Lang), h.Dir(p.Dir),
		h.Head(h.Meta(h.Charset("utf-8")), h.TitleEl(g.Text(p.TabTitle())), h.Link(h.Rel("stylesheet"), h.Href("/site.css"))),
		h.Body(
			h.Header(g.Text("Example, "+user)),
			h.Main(
				h.H1(g.Text(p.Title())),
				g.If(p.About != "", h.P(g.Text(p.About))),
				g.If(p.Error != "", h.Div(h.Role("alert"), say(p, "errors."+p.Error),
					g.If(p.Error == "wrong", h.P(say(p, "guessesLeft"))))),
				g.If(p.Notice != "", h.P(h.Role("status"), say(p, p.Notice))),
				content,
				g.If(p.Error != "" || p.Step != "address", h.P(say(p, "support"))),
			),
		),
	))
}

// step is what the page asks for.
func step(p otphttp.Page) g.Node {
	switch p.Step {
	case "address":
		return g.Group{
			form(p, "start", "send",
				g.If(p.To != "", h.P(say(p, "willSend"))),
				g.If(p.To == "", h.Label(say(p, "address"),
					h.Input(h.Name("address"), h.Type("email"), h.AutoComplete("email"), h.Value(p.Address), h.Required())))),
			g.If(p.HaveCode != "", h.A(h.Href(p.URL("code")), say(p, "haveCode"))),
		}
	case "code":
		return g.Group{
			h.P(say(p, "sent")), h.P(say(p, "reference")), h.P(say(p, "timeLeft")), g.If(p.Strong, h.P(say(p, "strong"))),
			form(p, "check", "continue", h.Label(say(p, "code"),
				h.Input(h.Name("code"), g.Attr("inputmode", keyboard(p)), h.AutoComplete("one-time-code"), h.Required()))),
			g.If(p.CanResend, form(p, "resend", "resend", g.If(p.ResendIn > 0, h.P(say(p, "resendIn"))))),
			g.If(!p.CanResend, h.A(h.Href(p.URL("")), say(p, "startAgain"))),
			g.If(p.CanChange, h.A(h.Href(p.URL("")), say(p, "another"))),
		}
	case "new":
		return form(p, "resend", "newCode")
	case "passed":
		return g.Group{h.A(h.Href(p.URL("next")), say(p, "continue")), h.A(h.Href(p.URL("")), say(p, "startAgain"))}
	}
	return h.A(h.Href(p.URL("")), say(p, "startAgain"))
}

func form(p otphttp.Page, step, button string, content ...g.Node) g.Node {
	return h.Form(h.Method("post"), h.Action(p.URL(step)), g.Raw(string(p.Hidden())), g.Group(content), h.Button(say(p, button)))
}

// keyboard names the keyboard that a phone shows.
func keyboard(p otphttp.Page) string {
	if p.Letters {
		return "text"
	}
	return "numeric"
}

// say is a sentence in the language of the page. A key that does not exist ends
// the rendering with an error.
func say(p otphttp.Page, key string) g.Node {
	sentence, err := p.Say(key)
	if err != nil {
		return g.NodeFunc(func(io.Writer) error { return err })
	}
	return g.Raw(string(sentence))
}
