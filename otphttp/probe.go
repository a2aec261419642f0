package otphttp

import "strings"

// probe renders trial pages, so that a faulty template is found when the
// program starts. It skips pages whose template and words are both built in: a
// test of this package renders all of those.
func (p *pages) probe(brand string) error {
	if fallback := p.languages.Choose(""); p.custom || fallback.custom {
		if err := p.probeProblems(brand, fallback); err != nil {
			return err
		}
	}
	for _, w := range p.languages.All() {
		if !p.custom && !w.custom {
			continue
		}
		for _, step := range pageSteps {
			if _, err := p.render(p.with(trialPage(step, brand), w)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pageSteps are the values of [Page.Step].
var pageSteps = [...]string{"address", "code", "new", "passed", "over"}

// probeProblems renders each step with each problem and each notice, both with
// all fields and with as few as possible.
func (p *pages) probeProblems(brand string, w *words) error {
	says := [][2]string{{"", "sentAgain"}, {"", "sentNew"}, {"", "passed"}} // a problem and a notice
	for key := range w.sentences() {
		if problem, ok := strings.CutPrefix(key, "errors."); ok {
			says = append(says, [2]string{problem, ""})
		}
	}
	for _, step := range pageSteps {
		for _, say := range says {
			full, bare := trialPage(step, brand), Page{Step: step, Strong: true, Letters: true}
			for _, page := range [...]Page{full, bare} {
				page.Error, page.Notice = say[0], say[1]
				if _, err := p.render(p.with(page, w)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// trialPage returns a page that has every field except problem and notice.
func trialPage(step, brand string) Page {
	return Page{
		Step: step, Brand: brand, Support: "help@example.com", About: "99.00 EUR", To: "a***@example.com", Reference: "BCDF", GuessesLeft: 3,
		TimeLeft: 583, ResendIn: 43, RetryIn: 12, CanResend: true, CanChange: true, HaveCode: "BCDF", Next: "/next", Status: 200, Fields: map[string]string{"token": "x"},
	}
}
