// Package api_test checks the handlers of otphttp against their OpenAPI
// description, with a validator that others wrote.
package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// api is a handler, each exchange with which is checked against the description.
type api struct {
	t      *testing.T
	router routers.Router
	seen   map[string]bool // such as "/start 202"
	types  map[string]bool // of problems

	handler http.Handler
	inbox   *otptest.Inbox
	clock   *testkit.Clock
	refuse  error // what Options.Purpose returns
}

func newAPI(t *testing.T) *api {
	router, err := legacy.NewRouter(description(t), openapi3.EnableExamplesValidation())
	require.NoError(t, err)
	a := &api{t: t, router: router, seen: map[string]bool{}, types: map[string]bool{}, inbox: &otptest.Inbox{}, clock: testkit.NewClock()}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), a.inbox, &otp.Options{Now: a.clock.Now})
	require.NoError(t, err)
	a.handler, err = otphttp.New(verifier, &otphttp.Options{
		Now:        a.clock.Now,
		Purpose:    func(*http.Request) (string, error) { return "login", a.refuse },
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {},
	})
	require.NoError(t, err)
	return a
}

// do makes one exchange. A wild request is one that the description forbids.
func (a *api) do(method, step, kind, body string, wild bool) (status int, answer string) {
	request := func() *http.Request {
		r := httptest.NewRequest(method, "/login/"+step, strings.NewReader(body))
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		return r
	}
	if !wild {
		require.NoError(a.t, openapi3filter.ValidateRequest(a.t.Context(), a.input(request())), "%s %s", step, body)
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, request())
	result := w.Result()
	raw, err := io.ReadAll(result.Body)
	require.NoError(a.t, err)
	// The description has no request of another method, but it has the answer.
	described := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: a.input(httptest.NewRequest(http.MethodPost, "/login/"+step, nil)),
		Status:                 result.StatusCode, Header: result.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	require.NoError(a.t, openapi3filter.ValidateResponse(a.t.Context(), described.SetBodyBytes(raw)),
		"%s %s: %d %s", step, body, result.StatusCode, raw)
	require.Equal(a.t, "no-store, no-transform", result.Header.Get("Cache-Control"))
	if result.StatusCode == http.StatusTooManyRequests || result.StatusCode == http.StatusServiceUnavailable {
		require.Regexp(a.t, `^[1-9][0-9]*$`, result.Header.Get("Retry-After"))
	}
	a.seen[fmt.Sprintf("/%s %d", step, result.StatusCode)] = true
	if m := regexp.MustCompile(`problems\.md#([a-z]+)`).FindStringSubmatch(string(raw)); m != nil {
		a.types[m[1]] = true
	}
	return result.StatusCode, string(raw)
}

// input finds what the description says of a request.
func (a *api) input(r *http.Request) *openapi3filter.RequestValidationInput {
	route, params, err := a.router.FindRoute(r)
	require.NoError(a.t, err)
	return &openapi3filter.RequestValidationInput{Request: r, Route: route, PathParams: params}
}

func (a *api) post(step, body string) (int, string) {
	return a.do(http.MethodPost, step, "application/json", body, false)
}

func idOf(body string) string {
	if m := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(body); m != nil {
		return m[1]
	}
	return ""
}

// Every path, status and problem type of the description happens here, and no
// others do.
func TestOpenAPI(t *testing.T) {
	a := newAPI(t)
	const bob, carol = "bob@example.com", "carol@example.com"

	// What an app does: a wrong code, the right one, and that one once more.
	_, body := a.post("start", `{"address":"`+bob+`","device":"x","captcha":null}`)
	id := idOf(body)
	about := `{"id":"` + id + `"}`
	answer := func(id, code string) string { return `{"id":"` + id + `","code":"` + code + `"}` }
	a.post("status", about)
	a.post("resend", about)
	a.post("start", `{"address":"`+bob+`","captcha":"x","held":null}`) // too early
	status, body := a.post("start", `{"address":"`+bob+`","held":["x","`+id+`"]}`)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, id, idOf(body))
	require.Contains(t, body, `"scope":"address"`)
	a.post("check", answer(id, "nonsense"))
	a.post("check", answer(id, testkit.WrongCode(a.inbox.Code(bob))))
	a.clock.Add(time.Minute)
	a.post("resend", about)
	status, verified := a.post("check", answer(id, a.inbox.Code(bob)))
	require.Equal(t, http.StatusOK, status)
	a.post("check", answer(id, a.inbox.Code(bob)))
	a.post("status", about)
	a.post("resend", about)

	// A challenge expires, two are exhausted, and then the code is a strong one.
	_, body = a.post("start", `{"address":"`+carol+`"}`)
	id = idOf(body)
	a.clock.Add(10 * time.Minute)
	a.post("check", answer(id, a.inbox.Code(carol)))
	a.post("status", `{"id":"`+id+`"}`)
	for range 4 {
		_, body = a.post("resend", `{"id":"`+id+`"}`)
		id = idOf(body)
		for range 6 {
			a.post("check", answer(id, testkit.WrongCode(a.inbox.Code(carol))))
		}
		a.clock.Add(time.Minute)
	}
	require.Contains(t, body, `"strong":true`)
	// A known device has its own budgets.
	device := regexp.MustCompile(`"device":"([^"]+)"`).FindStringSubmatch(verified)[1]
	_, body = a.post("start", `{"address":"`+bob+`","device":"`+device+`"}`)
	require.Contains(t, body, `"known_device":true`)

	// Every path gets requests that it cannot read, and errors of the hook.
	for _, step := range []string{"start", "check", "resend", "status"} {
		a.do(http.MethodGet, step, "", "", true)
		a.do(http.MethodPost, step, "text/plain", "{}", true)
		a.do(http.MethodPost, step, "application/json", `[]`, true)
		a.do(http.MethodPost, step, "application/json", `{"x":"`+strings.Repeat("x", 5000)+`"}`, true)
		for _, err := range []error{otphttp.ErrForbidden, &otp.LimitError{RetryAfter: time.Second}, errors.New("database down")} {
			a.refuse = err
			a.post(step, `{"address":"`+bob+`","code":"123456"}`)
		}
		a.refuse = nil
	}
	a.do(http.MethodPost, "start", "application/json", `{}`, true)
	a.post("start", `{"address":"bob"}`)
	a.inbox.FailWith(&otp.SendError{Temporary: true, Stage: "connect", Err: context.DeadlineExceeded})
	a.post("start", `{"address":"erin@example.com"}`)

	require.Equal(t, described(t), slices.Sorted(maps.Keys(a.seen)))
	require.Equal(t, problemNames(t), slices.Sorted(maps.Keys(a.types)))
}

// description reads openapi.json.
func description(t *testing.T) *openapi3.T {
	document, err := openapi3.NewLoader().LoadFromFile("../../../otphttp/openapi.json")
	require.NoError(t, err)
	return document
}

// described returns the paths and statuses in the description.
func described(t *testing.T) []string {
	var list []string
	for path, item := range description(t).Paths.Map() {
		for method, operation := range item.Operations() {
			require.Equal(t, http.MethodPost, method, path)
			for status := range operation.Responses.Map() {
				list = append(list, path+" "+status)
			}
		}
	}
	slices.Sort(list)
	return list
}

// problemNames returns the headings of docs/problems.md.
func problemNames(t *testing.T) []string {
	raw, err := os.ReadFile("../../../docs/problems.md")
	require.NoError(t, err)
	var list []string
	for line := range strings.Lines(string(raw)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
