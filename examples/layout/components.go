package layout

import (
	"io"
	"net/http"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

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
func shell(user string, p otphttp.Page, content Node) Node {
	return Doctype(HTML(Lang(p.Lang), Dir(p.Dir),
		Head(Meta(Charset("utf-8")), TitleEl(Text(p.TabTitle())), Link(Rel("stylesheet"), Href("/site.css"))),
		Body(
			Header(Text("Example, "+user)),
			Main(
				H1(Text(p.Title())),
				If(p.About != "", P(Text(p.About))),
				If(p.Error != "", Div(Role("alert"), say(p, "errors."+p.Error),
					If(p.Error == "wrong", P(say(p, "guessesLeft"))))),
				If(p.Notice != "", P(Role("status"), say(p, p.Notice))),
				content,
				If(p.Error != "" || p.Step != "address", P(say(p, "support"))),
			),
		),
	))
}

// step is what the page asks for.
func step(p otphttp.Page) Node {
	switch p.Step {
	case "address":
		return Group{
			form(p, "start", "send",
				If(p.Masked != "", P(say(p, "willSend"))),
				If(p.Masked == "", Label(say(p, "address"),
					Input(Name("address"), Type("email"), AutoComplete("email"), Value(p.Address), Required())))),
			If(p.HaveCode != "", A(Href(p.URL("code")), say(p, "haveCode"))),
		}
	case "code":
		return Group{
			P(say(p, "sent")), P(say(p, "reference")), P(say(p, "timeLeft")), If(p.Strong, P(say(p, "strong"))),
			form(p, "check", "continue", Label(say(p, "code"),
				Input(Name("code"), Attr("inputmode", keyboard(p)), AutoComplete("one-time-code"), Required()))),
			form(p, "resend", "resend", If(p.ResendIn > 0, P(say(p, "resendIn")))),
			If(p.CanChange, A(Href(p.URL("")), say(p, "another"))),
		}
	case "new":
		return form(p, "resend", "newCode")
	}
	return A(Href(p.URL("")), say(p, "startAgain"))
}

func form(p otphttp.Page, step, button string, content ...Node) Node {
	return Form(Method("post"), Action(p.URL(step)), Raw(string(p.Hidden())), Group(content), Button(say(p, button)))
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
func say(p otphttp.Page, key string) Node {
	sentence, err := p.Say(key)
	if err != nil {
		return NodeFunc(func(io.Writer) error { return err })
	}
	return Raw(string(sentence))
}
