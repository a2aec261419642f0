package otphttp

import (
	"strconv"
	"sync"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/phrases"
)

// Sentence returns what the built-in pages say, as plain text, for applications
// that draw their own pages over an [otp.Verifier]. If err is nil, it is where
// the code of the challenge was sent and which reference the mail shows. If err
// is not nil, it is what the error means and, with a wrong code, how many
// guesses are left. c is the challenge that came with the error, if any. Labels
// and buttons are the application's own.
//
// The languages are a BCP 47 tag or an Accept-Language header, and lang is the
// tag of the one that was chosen, for the attribute lang of the element that
// shows the sentence.
func Sentence(languages string, c otp.Challenge, err error) (sentence, lang string) {
	all, broken := builtinChooser()
	if broken != nil {
		panic("otphttp: built-in " + broken.Error()) // a test of this package reads them all
	}
	w := all.Choose(languages)
	if err == nil {
		sent := w.plain("sent", map[string]string{"address": c.Masked})
		return sent + " " + w.plain("reference", map[string]string{"reference": c.Reference}), w.lang
	}
	p := explain(err)
	if p.name == "wrong" && c.ID != "" && c.GuessesLeft == 0 {
		p.name = "exhausted" // what the page that follows says
	}
	sentence = w.plain("errors."+p.sentence(c), map[string]string{"time": w.wait(seconds(p.wait))})
	if p.name == "wrong" && c.ID != "" {
		sentence += " " + w.plain("guessesLeft", map[string]string{"number": strconv.Itoa(c.GuessesLeft)})
	}
	return sentence, w.lang
}

var builtinChooser = sync.OnceValues(func() (*phrases.Chooser[words], error) { return newLanguages(nil, "") })
