package frameworks

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/alexedwards/scs/v2"

	"github.com/go-mailotp/otp"
)

// scsSessions are the sessions of scs. Its middleware LoadAndSave keeps the
// session in the context of the request, where OnVerified finds it.
type scsSessions struct{ *scs.SessionManager }

func newSCS() scsSessions {
	s := scsSessions{scs.New()}
	s.Cookie.Secure = true // HttpOnly and SameSite=Lax are the defaults
	return s
}

// onVerified serves as otphttp.Options.OnVerified.
func (s scsSessions) onVerified(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
	if err := s.signIn(r.Context(), c.To.Key()); err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	}
}

// signIn ends the session that the visitor had and begins another one.
func (s scsSessions) signIn(ctx context.Context, user string) error {
	if err := errors.Join(s.Clear(ctx), s.RenewToken(ctx)); err != nil {
		return err
	}
	s.Put(ctx, "user", user)
	return nil
}

func (s scsSessions) home(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, whoIs(s.GetString(r.Context(), "user")))
}

func (s scsSessions) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.Destroy(r.Context()); err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
