package otphttp_test

import (
	"io"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

func BenchmarkNew(b *testing.B) {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(io.Discard), nil)
	require.NoError(b, err)
	for name, opts := range map[string]otphttp.Options{
		"builtin":  {},
		"words":    {Files: fstest.MapFS{"words/en.json": file(`{"send": "Mail me a code"}`)}},
		"template": {Files: fstest.MapFS{"page.html.tmpl": file(`{{.Step}}`)}},
	} {
		opts.OnVerified = func(http.ResponseWriter, *http.Request, otp.Challenge) {}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := otphttp.New(verifier, &opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// New neither reads the languages nor renders the trial pages of the built-in
// words again: either takes more than 20,000 allocations.
func TestNew_allocs(t *testing.T) {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(io.Discard), nil)
	require.NoError(t, err)
	opts := otphttp.Options{OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {}}
	allocs := testing.AllocsPerRun(3, func() {
		_, err = otphttp.New(verifier, &opts)
		require.NoError(t, err)
	})
	require.Less(t, allocs, 5000.0)
}
