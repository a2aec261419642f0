package otphttp

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// Page is what a page shows: the data of the template and of [Options.Render].
// Its methods return the words, the addresses and the ready content.
type Page struct {
	// Lang is the BCP 47 tag of the language, and Dir is its direction, "ltr"
	// or "rtl".
	Lang, Dir string

	// Brand is the name at the top; empty if there is none.
	Brand string

	// Support says whom to ask for help; empty if the application does not say.
	// See Options.Support. Say("support") is the sentence with it.
	Support string

	// About is what is being confirmed, in the application's words: "99.00 EUR
	// to Example Ltd, invoice 42". It is empty unless Options.Page sets it.
	// People must see what their code is for, both here and in the mail (Vars).
	// A page with the step "over" or "passed" never has it.
	About string

	// Status is the HTTP status of the page.
	Status int

	// Step is the kind of page. Whoever draws the forms needs what is in
	// parentheses; in quotes after Say are the keys of sentences.
	//
	//   - "address" asks for the address, or only for a press of the button if
	//     To is set (form "start", with the field "address" unless To is set;
	//     Say "address" or "willSend", "send"; if HaveCode is set, a link to
	//     URL("code"), Say "haveCode").
	//   - "code" asks for the code (Say "sent", "reference", "timeLeft", and
	//     "strong" if Strong; form "check" with the field "code", Say "code",
	//     "continue"; if CanResend is set, form "resend", Say "resend", and
	//     "resendIn" if ResendIn is not 0; otherwise a link to URL(""), Say
	//     "startAgain").
	//   - "new" says that the code can no longer be used, and offers a new one
	//     (form "resend", Say "newCode").
	//   - "passed" follows the right code, and one that may have been right
	//     (links to URL("next"), Say "continue", and URL(""), Say "startAgain").
	//   - "over" only lets the visitor start again (link to URL(""), Say
	//     "startAgain").
	//
	// All pages have a Title, Say("errors."+Error) if Error is set, with
	// "guessesLeft" if it is "wrong", and Say(Notice) if Notice is set. If
	// CanChange is set, "code" and "new" have a link to URL(""), Say "another".
	Step string

	// Error is the name of the problem, as in docs/problems.md; empty if there is
	// none. It is "cookie" instead of "unknown" if the browser has no cookie,
	// and instead of "limited" it is "network" if the budget of the client is
	// spent, or "recent" if a mail was just sent to the address for a challenge
	// that this browser does not have.
	Error string

	// Notice is "sentAgain" or "sentNew" after a resend, "passed" on the page of
	// that step, otherwise empty.
	Notice string

	// Address is what stands in the field for the address: what the visitor
	// typed, if it was not a valid address or is to be corrected, or the
	// login_hint of the link that led here.
	Address string

	// To is the address to which the code is or was sent: whole if the visitor
	// typed it in this browser, otherwise masked, such as a***@example.com.
	To string

	// Reference is the short word that the mail shows too.
	Reference string

	// Strong reports whether the code is a strong one, which is longer and may
	// have letters.
	Strong bool

	// Letters reports whether the code may have letters.
	Letters bool

	// GuessesLeft is how many wrong codes may still be typed. It is shown if
	// Error is "wrong".
	GuessesLeft int

	// TimeLeft is how long the code is still valid, ResendIn is the time until
	// it can be mailed again, and RetryIn is the time until the visitor can
	// retry after an error. All are in seconds; 0 means now or not known.
	// Sentences count down TimeLeft and ResendIn, and say RetryIn in whole
	// minutes or hours unless it is the same as ResendIn.
	TimeLeft, ResendIn, RetryIn int

	// CanResend reports whether the code can be mailed again or replaced by a
	// new one, now or after ResendIn.
	CanResend bool

	// CanChange reports whether the visitor chose the address and may choose
	// another one.
	CanChange bool

	// HaveCode is the reference of a challenge that this browser has and can
	// pass; empty if it has none.
	HaveCode string

	// Next is the path to go to after success; empty if there is none.
	Next string

	// Fields are more hidden fields of each form, such as the token of your
	// CSRF middleware. It is empty unless Options.Page sets it.
	Fields map[string]string

	// Style is the style of a whole page: it also styles body, all buttons and
	// all links, so it is not for a layout that has a style. It must be the
	// only content of its element: the Content-Security-Policy names its hash,
	// so browsers ignore anything else. Only Options.Page may change it.
	Style template.CSS

	// Script is the script of the page: it counts down the timers and stops a
	// form from being sent twice. It must be unchanged in its element.
	Script template.JS

	kind          string // of the purpose
	path, startAt string // Options.Path and Options.StartAt
	home          string // Options.Home
	words         *words
}

// Body returns the content of the page as HTML, all that comes after its Title:
// the problem or the notice, the forms and the links. A template or
// [Options.Render] puts it into a layout. Its elements have the classes about,
// problem, notice, to, reference, hint, more, button (also a link that looks like
// one) and second (a button that matters less).
func (p Page) Body() (template.HTML, error) {
	t, err := builtinBody()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, p)
	return template.HTML(b.String()), err
}

var builtinBody = sync.OnceValues(func() (*template.Template, error) {
	return template.ParseFS(builtin, "body.html.tmpl")
})

// Hidden returns the hidden fields that every form of the page must contain:
// "reference" and "next", if the page has them, and Fields.
func (p Page) Hidden() template.HTML {
	fields := map[string]string{}
	maps.Copy(fields, p.Fields)
	if p.Next != "" {
		fields["next"] = p.Next
	}
	if p.Step == "code" || p.Step == "new" {
		fields["reference"] = p.Reference
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, "<input type=\"hidden\" name=\"%s\" value=\"%s\">\n", template.HTMLEscapeString(name), template.HTMLEscapeString(fields[name]))
	}
	return template.HTML(b.String())
}

// URL returns the address of a step, for a form or a link. The steps "start",
// "check" and "resend" are for forms that are posted: with the field "address"
// the first, with the field "code" the second, and all of them with the fields
// of Hidden. "code" is a link to the page of the challenge in HaveCode, and ""
// is a link to where the visitor starts again. "next" is where to go after
// success.
func (p Page) URL(step string) string {
	switch step {
	case "code":
		return p.path + codePath(p.HaveCode, p.Next, "", 0)
	case "next":
		return cmp.Or(p.Next, p.home)
	case "":
		start := cmp.Or(p.startAt, p.path, "./")
		query := url.Values{}
		if p.Next != "" {
			query.Set("next", p.Next)
		}
		if p.CanChange && (p.Step == "code" || p.Step == "new") {
			query.Set("ref", p.Reference) // whose address is to be corrected
		}
		if len(query) == 0 {
			return start
		}
		separator := "?"
		if strings.Contains(start, "?") {
			separator = "&"
		}
		return start + separator + query.Encode()
	}
	return p.path + step
}

// Say returns the sentence with a key of words/en.json, such as "send" or
// "errors.wrong", in the language of the page. An unknown key is an error. Use
// Title for titles, since not every language has all of them.
func (p Page) Say(key string) (template.HTML, error) {
	if _, ok := p.words.sentences()[key]; !ok {
		return "", fmt.Errorf("words/%s.json has no %q", p.Lang, key)
	}
	return p.words.html(key, map[string]template.HTML{
		"address":   asItIs(template.HTMLEscapeString(p.To)),
		"reference": template.HTML(template.HTMLEscapeString(p.Reference)),
		"number":    template.HTML(strconv.Itoa(p.GuessesLeft)),
		"time":      p.timer(key),
		"support":   p.contact(),
	}), nil
}

// Cloudflare replaces what looks like an address, except between these comments.
const emailOff, emailOn = "<!--email_off-->", "<!--/email_off-->"

// asItIs returns HTML with an address that no proxy changes.
func asItIs(html string) template.HTML { return template.HTML(emailOff + html + emailOn) }

// contact returns Support, as a link if it is an address on the web or of mail.
func (p Page) contact() template.HTML {
	text := template.HTMLEscapeString(p.Support)
	link := ""
	if strings.HasPrefix(p.Support, "https://") {
		link = text
	} else if to, err := otp.ParseEmail(p.Support); err == nil {
		link = "mailto:" + template.HTMLEscapeString(url.PathEscape(to.String()))
	}
	if link != "" {
		text = `<a href="` + link + `">` + text + `</a>`
	}
	return asItIs(text)
}

// timer returns the time in a sentence: one that the script counts down if the
// second is known, otherwise words.
func (p Page) timer(key string) template.HTML {
	left := map[string]int{"timeLeft": p.TimeLeft, "resendIn": p.ResendIn}[key]
	if strings.HasPrefix(key, "errors.") {
		if p.RetryIn == 0 || p.RetryIn != p.ResendIn {
			return template.HTML(template.HTMLEscapeString(p.words.wait(p.RetryIn)))
		}
		left = p.RetryIn
	}
	return template.HTML(fmt.Sprintf(`<span role="timer" dir="ltr" data-left="%d">%s</span>`, left, clock(left)))
}

// Title returns the heading of the page, without the brand.
func (p Page) Title() string {
	switch p.Step {
	case "code", "new":
		return p.words.plain("checkMail", nil)
	}
	if _, ok := p.words.sentences()["title."+p.kind]; !ok {
		return p.words.plain("title.", nil)
	}
	return p.words.plain("title."+p.kind, nil)
}

// TabTitle returns the title of the document: the heading, marked as an error
// if there is one (WCAG 2.4.2), and the brand.
func (p Page) TabTitle() string {
	title := p.Title()
	if p.Error != "" {
		title = p.words.plain("errorTitle", map[string]string{"title": title})
	}
	if p.Brand != "" {
		title += " – " + p.Brand
	}
	return title
}

// show writes a page.
func (x *exchange) show(status int, page Page) {
	o, header := &x.h.opts, x.w.Header()
	page.Status, page.Brand, page.Support = status, o.Brand, o.Support
	page.CanChange = o.Address == nil && o.StartAt == ""
	page.path, page.startAt, page.home = x.path, o.StartAt, o.Home
	if page.Next == "" {
		page.Next = x.next()
	}
	if x.verifier != nil {
		page.kind = otp.Message{Purpose: x.verifier.Purpose()}.Kind()
	}
	page = x.h.pages.with(page, x.h.pages.languages.Choose(x.language()))
	if o.Page != nil {
		o.Page(x.r, &page)
	}
	if page.Step == "over" || page.Step == "passed" {
		page.About = "" // nothing is left to confirm
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", page.Lang)
	d := &draft{header: header.Clone()}
	err := x.draw(d, page)
	if err != nil {
		x.reportError(fmt.Errorf("otphttp: the page could not be shown: %w", err))
		http.Error(x.w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	clear(header)
	maps.Copy(header, d.header)
	x.w.WriteHeader(cmp.Or(d.status, page.Status))
	x.w.Write(d.body)
}

// draw writes the page to d.
func (x *exchange) draw(d *draft, page Page) (err error) {
	if page.Style != x.h.pages.style { // Options.Page has changed it
		page.Style = template.CSS(newlines.Replace(string(page.Style)))
		if strings.Contains(strings.ToLower(string(page.Style)), "</style") {
			return errors.New("Options.Page: Style must not contain \"</style\"")
		}
	}
	if x.h.opts.Render != nil {
		return x.h.opts.Render(d, x.r, page)
	}
	if page.Style != x.h.pages.style && x.h.opts.ContentSecurityPolicy == "" {
		d.header.Set("Content-Security-Policy", policy(page.Style, page.Script))
	}
	d.body, err = x.h.pages.render(page)
	return err
}

// draft is a page that Options.Render writes. It is kept until it is complete, so
// that an error leaves nothing behind.
type draft struct {
	header http.Header
	status int
	body   []byte
}

func (d *draft) Header() http.Header { return d.header }

func (d *draft) WriteHeader(status int) {
	if d.status == 0 && status >= 200 {
		d.status = status
	}
}

func (d *draft) Write(b []byte) (int, error) {
	d.body = append(d.body, b...)
	return len(b), nil
}

// next returns where to go after success, from the form or the address of the
// page.
func (x *exchange) next() string {
	if x.in.next != "" {
		return x.in.next
	}
	return x.local(x.r.URL.Query().Get("next"))
}

// askPage asks for the address.
func (x *exchange) askPage() {
	if x.h.opts.StartAt != "" {
		x.redirect(x.startAgain())
		return
	}
	masked, err := x.knownAddress()
	if err != nil {
		x.fail(otp.Challenge{}, err)
		return
	}
	page := Page{Step: "address", To: masked, Address: x.hint(), HaveCode: x.haveCode()}
	if reference := x.r.URL.Query().Get("ref"); page.Address == "" && reference != "" {
		page.Address = challengeCookie(x.r).find(reference).typed
	}
	x.show(http.StatusOK, page)
}

// haveCode returns the reference of the newest challenge of this browser that can
// be passed here.
func (x *exchange) haveCode() string {
	for _, c := range challengeCookie(x.r) {
		_, err := x.verifier.Status(x.r.Context(), c.id)
		if err == nil {
			return c.reference
		}
		if explain(err).system {
			return "" // a store that is down is not asked four times
		}
	}
	return ""
}

// startAgain returns the page of the application that leads to Handler.Start.
func (x *exchange) startAgain() string {
	return Page{startAt: x.h.opts.StartAt, Next: x.next()}.URL("")
}

// hint returns the address that a link suggests (OpenID Connect Core 3.1.2.1):
// that of an invitation, or of an account that has signed out. It only fills the
// field: nothing is looked up and nothing is sent.
func (x *exchange) hint() string {
	hint := x.r.URL.Query().Get("login_hint")
	if local, domain, ok := strings.Cut(hint, "@"); ok { // the link did not escape a plus
		hint = strings.ReplaceAll(local, " ", "+") + "@" + domain
	}
	if len(hint) > maxHint || safetext.Check(hint) != nil {
		return ""
	}
	return hint
}

// maxHint is the length of the longest address, in bytes (RFC 5321 4.5.3.1.3).
const maxHint = 254

// knownAddress returns the masked address that the application knows. It is
// empty if the visitor types the address.
func (x *exchange) knownAddress() (masked string, err error) {
	if x.h.opts.Address == nil {
		return "", nil
	}
	to, err := x.h.opts.Address(x.r)
	if err != nil {
		return "", err
	}
	// Only the verifier's parser decides, when the code is sent. Here any form
	// that some verifier accepts is good enough to be shown.
	address, err := otp.ParseEmail(to)
	if err != nil {
		address, err = otp.NewAddress(to, to)
	}
	if err != nil {
		return "", errors.New("otphttp: Options.Address: returned an invalid address")
	}
	return address.Masked(), nil
}

// says lists the notices that a redirect may make the code page show.
var says = []string{"malformed", "wrong", "limited", "network", "send", "server", "sentAgain", "sentNew"}

// codePage shows the state of the challenge. It sends and counts nothing.
func (x *exchange) codePage() {
	query := x.r.URL.Query()
	kept := challengeCookie(x.r).find(query.Get("ref"))
	c, err := x.verifier.Status(x.r.Context(), kept.id)
	if err != nil && c.ID == "" {
		x.fail(c, err)
		return
	}
	now := x.h.opts.Now()
	page := Page{
		Step: "code", To: cmp.Or(kept.typed, c.Masked), Reference: c.Reference, Strong: c.Strong, Letters: c.Letters, GuessesLeft: c.GuessesLeft,
		TimeLeft: seconds(c.ExpiresAt.Sub(now)), ResendIn: seconds(c.ResendAt.Sub(now)),
		CanResend: !now.After(c.ResendUntil),
	}
	say := query.Get("say")
	switch {
	case err != nil:
		page.Step, page.Error = "new", explain(err).name
		if !page.CanResend || x.h.opts.StartAt != "" { // only StartAt leads to another code
			page.Step = "over"
		}
		if slices.Contains([]string{"limited", "network", "send", "server"}, say) {
			page.Error = say
		}
	case !slices.Contains(says, say):
	case strings.HasPrefix(say, "sent"):
		page.Notice = say
	default:
		page.Error = say
	}
	if page.Error == "limited" || page.Error == "network" {
		page.RetryIn, _ = strconv.Atoi(query.Get("wait"))
		page.RetryIn = min(max(page.RetryIn, page.ResendIn), int(31*24*time.Hour/time.Second))
	}
	x.show(http.StatusOK, page)
}

// failPage shows a problem to a person. If there is a challenge to continue
// with, it redirects to the page of the challenge, so that reloading repeats
// nothing.
func (x *exchange) failPage(c otp.Challenge, p problem) {
	if reference := c.Reference; x.r.Method == http.MethodPost || x.step == "start" { // Handler.Start may answer a GET
		if reference == "" && (p.system || p.name == "malformed") && challengeCookie(x.r).find(x.in.reference).id != "" {
			reference = x.in.reference
		}
		if reference != "" {
			x.toCodePage(reference, p.sentence(c), seconds(p.wait))
			return
		}
	}
	if p.name == "unknown" && x.explainUnknown() {
		return
	}
	page := Page{Step: "over", Error: p.sentence(c), RetryIn: seconds(p.wait)}
	if x.step == "start" && x.h.opts.StartAt == "" && p.name != "forbidden" && p.name != "request" {
		page.Step, page.Address = "address", x.in.address
		page.To, _ = x.knownAddress()
		if x.verifier != nil {
			page.HaveCode = x.haveCode()
		}
	}
	x.show(p.status, page)
}

// explainUnknown answers for a challenge that does not exist, and reports whether
// it did: a code that this browser had was probably used a moment ago, and a
// browser that has no cookie did not keep it.
func (x *exchange) explainUnknown() bool {
	kept := challengeCookie(x.r)
	reference := cmp.Or(x.in.reference, x.r.URL.Query().Get("ref"))
	c := kept.find(reference)
	switch {
	case kept == nil:
		x.reportPlain()
		x.show(http.StatusNotFound, Page{Step: "over", Error: "cookie"})
	case c.id == "":
		return false
	case x.r.Method == http.MethodPost:
		x.toCodePage(c.reference, "", 0)
	case c.id == passedID:
		x.show(http.StatusOK, Page{Step: "passed", Notice: "passed"})
	default: // its answer was lost, or it ended more than an hour ago
		x.show(http.StatusNotFound, Page{Step: "passed", Notice: "passed"})
	}
	return true
}

// reportPlain reports, once, a site that is served without HTTPS, where browsers
// do not keep the cookies.
func (x *exchange) reportPlain() {
	from, err := url.Parse(cmp.Or(x.r.Header.Get("Origin"), x.r.Header.Get("Referer")))
	if err != nil || from.Scheme != "http" || from.Hostname() == "localhost" {
		return
	}
	x.reportOnce(&x.h.plain, fmt.Errorf("otphttp: a browser at %.100q has not kept the cookies, which it does over HTTPS only: serve the site with TLS", from.Scheme+"://"+from.Host))
}

// toCodePage redirects to the page of a challenge.
func (x *exchange) toCodePage(reference, say string, wait int) {
	x.w.Header().Del("Retry-After") // would delay the redirect (RFC 9110 10.2.3)
	x.redirect(x.path + codePath(reference, x.in.next, say, wait))
}

// codePath returns the address of that page, relative to the path of the handler.
func codePath(reference, next, say string, wait int) string {
	query := url.Values{"ref": {reference}}
	if next != "" {
		query.Set("next", next)
	}
	if say != "" {
		query.Set("say", say)
	}
	if wait > 0 {
		query.Set("wait", strconv.Itoa(wait))
	}
	return "code?" + query.Encode()
}

// redirect sends the browser to a path, which may be relative: http.Redirect
// would make it absolute with the path that http.StripPrefix has shortened.
func (x *exchange) redirect(to string) {
	x.w.Header().Set("Location", to)
	x.w.WriteHeader(http.StatusSeeOther)
}
