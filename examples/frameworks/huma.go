package frameworks

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// Huma is the application of NetHTTP with an API of its own over the verifier,
// which asks for a password first. huma passes the context of the request on, so
// its handlers find the session of scs there.
func Huma(v *otp.Verifier) (http.Handler, error) {
	s := newSCS()
	mux, err := newMux(v, s)
	if err != nil {
		return nil, err
	}
	api := humago.New(mux, huma.DefaultConfig("Example", "1.0.0"))
	huma.Post(api, "/api/login", func(ctx context.Context, in *passwordInput) (*sentOutput, error) {
		if !checkPassword(in.Body.Email, in.Body.Password) {
			return nil, huma.Error401Unauthorized("Wrong address or password.")
		}
		c, err := v.Send(ctx, otp.Request{
			To: in.Body.Email, Proven: true, Client: in.client, Locale: in.Languages,
			Held: []string{s.GetString(ctx, "challenge")},
		})
		if c.ID == "" {
			return nil, problem(in.Languages, c, err)
		}
		if err := s.RenewToken(ctx); err != nil { // the right password is worth a new session ID
			return nil, problem(in.Languages, c, err)
		}
		s.Put(ctx, "challenge", c.ID)
		out := &sentOutput{}
		out.Body.Message, out.Language = otphttp.Sentence(in.Languages, c, nil)
		return out, nil
	})
	huma.Post(api, "/api/login/code", func(ctx context.Context, in *codeInput) (*struct{}, error) {
		c, err := v.Check(ctx, s.GetString(ctx, "challenge"), in.Body.Code)
		if err == nil {
			err = s.signIn(ctx, c.To.Key())
		}
		if err != nil {
			return nil, problem(in.Languages, c, err)
		}
		return nil, nil
	})
	return s.LoadAndSave(mux), nil
}

type passwordInput struct {
	Languages string `header:"Accept-Language"`
	Body      struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	client string
}

// Resolve reads what is not among the fields: who is asking. Behind a proxy, that
// is the address that the proxy reports.
func (in *passwordInput) Resolve(ctx huma.Context) []error {
	in.client = ctx.RemoteAddr()
	return nil
}

type sentOutput struct {
	Language string `header:"Content-Language"`
	Body     struct {
		Message string `json:"message"`
	}
}

type codeInput struct {
	Languages string `header:"Accept-Language"`
	Body      struct {
		Code string `json:"code"`
	}
}

// checkPassword stands for what the application has already.
func checkPassword(email, password string) bool {
	return email == "alice@example.com" && password == "correct horse battery staple"
}
