package otphttp

import "strings"

// probe renders every kind of page, in every language without a problem, so that a
// faulty template is found when the program starts.
func (p *pages) probe(brand string) error {
	first := p.languages.Choose("")
	says := [][2]string{{"", "sentAgain"}, {"", "sentNew"}} // a problem and a notice
	for key := range first.sentences {
		if problem, ok := strings.CutPrefix(key, "errors."); ok {
			says = append(says, [2]string{problem, ""})
		}
	}
	for _, step := range []string{"address", "code", "new", "over"} {
		page := Page{
			Step: step, Brand: brand, About: "99.00 EUR", Masked: "a***@example.com", Reference: "BCDF", GuessesLeft: 3,
			TimeLeft: 583, ResendIn: 43, RetryIn: 12, CanChange: true, HaveCode: "BCDF", Next: "/next",
		}
		for _, say := range says {
			page.Error, page.Notice = say[0], say[1]
			bare := Page{Step: step, Error: say[0], Notice: say[1], Strong: true, Letters: true}
			for _, page := range []Page{page, bare} {
				if _, err := p.render(page, first); err != nil {
					return err
				}
			}
		}
		page.Error, page.Notice = "", ""
		for _, w := range p.languages.All() {
			if _, err := p.render(page, w); err != nil {
				return err
			}
		}
	}
	return nil
}
