package otphttp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// C6: there is one recipient or none. An address that another program could
// read as two is rejected.
func TestOneRecipient(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	for body, want := range map[string]int{
		"address=a@example.com&address=b@example.com":          400,
		"address=a@example.com&address=a@example.com":          400,
		"address=a@example.com&address=":                       400,
		"address=&address=a@example.com":                       400,
		"address[]=a@example.com&address[]=b@example.com":      400,
		"address[]=a@example.com":                              400,
		"address[0]=a@example.com&address[1]=b@example.com":    400,
		"address%00=a@example.com":                             400,
		"ADDRESS=a@example.com":                                400,
		"email=a@example.com":                                  400,
		"":                                                     400,
		"address=a@example.com;address=b@example.com":          400,
		"address=a@example.com&x=%zz":                          400,
		"code=1&code=2&address=a@example.com":                  400,
		"address=":                                             422,
		"address=a@example.com,b@example.com":                  422,
		"address=a@example.com%2Cb@example.com":                422,
		"address=a@example.com%3Bb@example.com":                422,
		"address=a@example.com+b@example.com":                  422,
		"address=a@example.com%0Ab@example.com":                422,
		"address=a@example.com%0D%0ABcc:b@example.com":         422,
		"address=a@example.com%00":                             422,
		"address=A+<a@example.com>":                            422,
		"address=<a@example.com>,<b@example.com>":              422,
		"address=a@example.com%26address=b@example.com":        422,
		"address=%22a@example.com,+b%22@example.com":           422,
		"address=a@example.com%E2%80%A8b@example.com":          422,
		"address=" + strings.Repeat("a", 300) + "@example.com": 422,
		"address=%FF@example.com":                              422,
	} {
		answer, _ := s.do(request(http.MethodPost, "/login/start", formContent, body))
		require.Equal(t, want, answer.StatusCode, body)
	}
	for body, want := range map[string]int{
		`{"address":["a@example.com","b@example.com"]}`:              400,
		`{"address":["a@example.com"]}`:                              400,
		`{"address":{"a":"a@example.com"}}`:                          400,
		`{"address":"a@example.com","address":"b@example.com"}`:      400,
		`{"address":"a@example.com","address":null}`:                 400,
		`{"address":null,"address":"a@example.com"}`:                 400,
		`{"address":"a@example.com","\u0061ddress":"b@example.com"}`: 400,
		`{"address":null}`:                                           400,
		`{"address":1}`:                                              400,
		`{"address":true}`:                                           400,
		`{"Address":"a@example.com"}`:                                400,
		`{}`:                                                         400,
		`[]`:                                                         400,
		`["a@example.com","b@example.com"]`:                          400,
		`"a@example.com"`:                                            400,
		`null`:                                                       400,
		``:                                                           400,
		`{"address":"a@example.com"`:                                 400,
		`{"address":"a@example.com"}{"address":"b@example.com"}`: 400,
		`{"address":"a@example.com"} x`:                          400,
		`{"address":"a@example.com",}`:                           400,
		`{'address':'a@example.com'}`:                            400,
		"{\"address\":\"a@example.com\n\"}":                      400,
		"{\"address\":\"\xff@example.com\"}":                     400,
		"\ufeff{\"address\":\"a@example.com\"}":                  400,
		`{"a":` + strings.Repeat("[", 3000):                      400,
		`{"address":""}`:                                         422,
		`{"address":"a@example.com,b@example.com"}`:              422,
		`{"address":"a@example.com;b@example.com"}`:              422,
		`{"address":"a@example.com b@example.com"}`:              422,
		`{"address":"a@example.com\nb@example.com"}`:             422,
		`{"address":"a@example.com\r\nBcc: b@example.com"}`:      422,
		`{"address":"A <a@example.com>"}`:                        422,
		`{"address":"a@example.com\u0000"}`:                      422,
		`{"address":"\ud800@example.com"}`:                       422,
	} {
		answer, text := s.do(request(http.MethodPost, "/login/start", jsonContent, body))
		require.Equal(t, want, answer.StatusCode, body)
		require.Equal(t, "application/problem+json", answer.Header.Get("Content-Type"))
		require.NotRegexp(t, `\b[ab]@example.com`, text)
		require.NotContains(t, text, `"challenge"`)
		require.Equal(t, "en", answer.Header.Get("Content-Language"))
	}
	require.Zero(t, s.inbox.Len())
	require.Empty(t, s.errors)

	// An address in the query is ignored, and is not added to the one in the
	// body.
	answer, _ := s.do(request(http.MethodPost, "/login/start?address=eve@example.com", formContent, "address=a@example.com"))
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	require.Equal(t, 1, s.inbox.Len())
	require.Equal(t, "a@example.com", s.inbox.Messages()[0].To.String())
}

// C7: only forms and JSON are read, and no more than 4 KiB.
func TestBodies(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	const form, object = "address=a@example.com", `{"address":"a@example.com"}`
	for _, content := range []string{
		"", "text/plain", "multipart/form-data; boundary=x", "application/xml", "text/html", "application/json-patch+json",
		"application/jsonp", "application/x-www-form-urlencoded, application/json", "application/json; charset", "json", "*/*", "text/json",
	} {
		for _, body := range []string{form, object} {
			answer, _ := s.do(request(http.MethodPost, "/login/start", content, body))
			require.Equal(t, http.StatusUnsupportedMediaType, answer.StatusCode, content)
		}
	}
	for content, body := range map[string]string{
		formContent: form + "&x=", jsonContent: `{"address":"a@example.com","x":"`,
	} {
		end := ""
		if content == jsonContent {
			end = `"}`
		}
		fill := func(size int) string { return body + strings.Repeat("x", size-len(body)-len(end)) + end }
		for _, step := range []string{"start", "check", "resend", "status"} {
			for _, size := range []int{4<<10 + 1, 5 << 10, 1 << 20} {
				r := request(http.MethodPost, "/login/"+step, content, fill(size))
				for _, length := range []int64{int64(size), -1} { // with and without Content-Length
					r.ContentLength, r.Body = length, io.NopCloser(strings.NewReader(fill(size)))
					answer, text := s.do(r)
					require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode)
					require.Less(t, len(text), 16<<10)
				}
			}
		}
		require.Zero(t, s.inbox.Len())
		answer, _ := s.do(request(http.MethodPost, "/login/start", content+"; charset=UTF-8", fill(4<<10)))
		require.Less(t, answer.StatusCode, 400)
		s.inbox.Reset()
		require.NoError(t, s.verifier.Forget(t.Context(), "a@example.com"))
	}
}

// Hooks see the fields of forms and of JSON, but not the query.
func TestHooks_seeFields(t *testing.T) {
	var seen []url.Values
	s := newSite(t, otphttp.Options{Prepare: func(r *http.Request, _ *otp.Request) error {
		require.NoError(t, r.ParseForm())
		require.Equal(t, r.Form, r.PostForm)
		seen = append(seen, r.PostForm)
		return otphttp.ErrForbidden
	}}, nil)
	for content, body := range map[string]string{formContent: "address=a@example.com&captcha=x", jsonContent: `{"address":"a@example.com","captcha":"x"}`} {
		answer, _ := s.do(request(http.MethodPost, "/login/start?captcha=y&z=1", content, body))
		require.Equal(t, http.StatusForbidden, answer.StatusCode)
	}
	want := url.Values{"address": {"a@example.com"}, "captcha": {"x"}}
	require.Equal(t, []url.Values{want, want}, seen)
	require.Zero(t, s.inbox.Len())
}

// allowed lists the statuses that an answer may have.
var (
	allowedForm = []int{303, 400, 403, 404, 405, 410, 413, 415, 422, 429}
	allowedJSON = []int{200, 202, 400, 403, 404, 405, 410, 413, 415, 422, 429}
)

// Any body gets an answer with a known status and verifies nobody. At most one
// mail is sent, to the address in the body. C6, C9
func FuzzInput(f *testing.F) {
	for _, seed := range []string{
		`{"address":"a@example.com"}`, "address=a@example.com", `{"code":"123456","id":"x"}`, "code=123456&reference=BCDF", `{"a":{}}`,
		`{"address":"a@example.com","address":null}`, "address=a&address=b", "a=%zz", `{"":""}`, `{"next":"//evil.example"}`, "\xff", "[[[[", `{"address":1e999}`,
	} {
		for _, step := range []string{"start", "check", "resend", "status"} {
			f.Add(step, seed, seed[0] == '{', "")
		}
	}
	f.Add("start", strings.Repeat("a", 5000), true, "")
	f.Add("../x", "", true, "")
	f.Add("status", "", false, "BCDF.x~~.~.")
	var mails []string
	verified := 0
	sender := otp.SenderFunc(func(_ context.Context, m otp.Message) error { mails = append(mails, m.To.String()); return nil })
	store := &struct{ otp.Store }{}
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: [][]byte{secret}})
	require.NoError(f, err)
	var failures []error
	h, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) { verified++ },
		OnError:    func(_ *http.Request, err error) { failures = append(failures, err) },
	})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, step, body string, isJSON bool, cookie string) {
		mails, store.Store = nil, otp.NewMemoryStore(nil)
		r := httptest.NewRequest(http.MethodPost, "/login/", strings.NewReader(body))
		r.URL.Path += step
		r.AddCookie(&http.Cookie{Name: "__Host-otp", Value: cookie})
		allowed, content := allowedForm, formContent
		if isJSON {
			allowed, content = allowedJSON, jsonContent
		}
		r.Header.Set("Content-Type", content)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.True(t, slices.Contains(allowed, w.Code), w.Code)
		require.Zero(t, verified)
		require.Empty(t, failures)
		require.LessOrEqual(t, len(mails), 1)
		if len(mails) == 0 {
			require.NotEqual(t, http.StatusAccepted, w.Code)
			return
		}
		_, last, _ := strings.Cut(r.URL.Path, "/login/")
		require.True(t, strings.HasSuffix(last, "start"))
		address := ""
		if isJSON {
			var object map[string]string
			require.NoError(t, json.Unmarshal([]byte(body), &object))
			address = object["address"]
		} else {
			form, err := url.ParseQuery(body)
			require.NoError(t, err)
			require.Len(t, form["address"], 1)
			address = form.Get("address")
		}
		to, err := otp.ParseEmail(address)
		require.NoError(t, err)
		require.Equal(t, []string{to.String()}, mails)
	})
}
