package otptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
)

var _ http.Handler = (*Inbox)(nil)

// maxHTTPWait is the longest wait of a GET. Clients and proxies often give up
// after 30 seconds.
const maxHTTPWait = 30 * time.Second

// ServeHTTP lets a browser test in another process, for example with Playwright
// or Cypress, read the mails:
//
//	GET    /test/inbox?to=ann@example.com&wait=10s
//	DELETE /test/inbox
//
// Anyone who can reach this handler can read every code, and so can sign in as
// anybody. Mount it only in a test server that listens on a local address.
// Never mount it in production or on a public port. It needs no CORS headers,
// because request in Playwright and cy.request in Cypress do not send their
// requests from a page.
//
// The answer to GET is a JSON array of mails, oldest first, which is empty if
// there are none. Each mail has the fields of an [otp.Message]: id, to, code,
// purpose, locale, reference, vars (absent if there are none), known, sent_at
// and expires_at. Times are in the format of RFC 3339. GET changes nothing: the
// next GET returns the same mails again, and [Inbox.Wait] ignores both. GET has
// two optional parameters:
//
//   - to is a recipient. The array then has only the mails to this recipient,
//     compared byte by byte. Encode the address, because a plain + means a
//     space in a URL.
//   - wait is a duration from 0s to 30s, such as 10s. If there is no mail to
//     return, GET waits until one arrives. If none arrives in that time, the
//     answer is 404. The WriteTimeout of the server must be longer.
//
// DELETE does what [Inbox.Reset] does, for all recipients. The answer is 204.
//
// An unknown, duplicate, empty or invalid parameter gives 400, and any other
// method gives 405. With 400, 404 and 405, the body is a JSON object whose
// field error says what is wrong.
func (b *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		b.serveMails(w, r)
	case http.MethodDelete:
		if _, err := parameters(r); err != nil {
			writeError(w, http.StatusBadRequest, err)
			return
		}
		b.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, HEAD, DELETE")
		writeError(w, http.StatusMethodNotAllowed, errors.New("method not allowed, want GET or DELETE"))
	}
}

// serveMails answers a GET.
func (b *Inbox) serveMails(w http.ResponseWriter, r *http.Request) {
	query, err := parameters(r, "to", "wait")
	if err != nil {
		writeError(w, http.StatusBadRequest, err)
		return
	}
	to := query["to"]
	mails, arrival := b.mailsTo(to)
	if text, ok := query["wait"]; ok {
		wait, err := time.ParseDuration(text)
		if err != nil || wait < 0 || wait > maxHTTPWait {
			writeError(w, http.StatusBadRequest, fmt.Errorf("wait: invalid value %q, want 0s to %v", text, maxHTTPWait))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		for len(mails) == 0 {
			select {
			case <-arrival:
				mails, arrival = b.mailsTo(to)
			case <-ctx.Done():
				writeError(w, http.StatusNotFound, noMail(to))
				return
			}
		}
	}
	writeJSON(w, http.StatusOK, mails)
}

// noMail quotes the recipient, so that a space in place of a + is seen.
func noMail(to string) error {
	if to == "" {
		return errors.New("no mail has arrived")
	}
	return fmt.Errorf("no mail has arrived for %q", to)
}

// parameters returns the parameters in the query of a request. Only those with
// the given names are allowed, because a typo would otherwise give a test
// the mail of another one.
func parameters(r *http.Request, names ...string) (map[string]string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.New("malformed query")
	}
	one := map[string]string{}
	for name, values := range query {
		switch {
		case !slices.Contains(names, name):
			return nil, fmt.Errorf("unknown parameter %q", name)
		case len(values) > 1:
			return nil, fmt.Errorf("duplicate parameter %q", name)
		case values[0] == "":
			return nil, fmt.Errorf("empty parameter %q", name)
		}
		one[name] = values[0]
	}
	return one, nil
}

// mailsTo returns the mails to a recipient, or all mails if to is empty, oldest
// first. If there are none, it also returns a channel that is closed when a
// mail arrives.
func (b *Inbox) mailsTo(to string) ([]mailJSON, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	mails := []mailJSON{} // not nil, which is null in JSON
	for _, m := range b.mails {
		if to == "" || m.To.String() == to {
			mails = append(mails, newMailJSON(*m))
		}
	}
	if len(mails) > 0 {
		return mails, nil
	}
	return mails, b.nextArrival()
}

// mailJSON has all fields of an [otp.Message], whose own JSON has no secrets.
type mailJSON struct {
	ID        string            `json:"id"`
	To        string            `json:"to"`
	Code      string            `json:"code"`
	Purpose   string            `json:"purpose"`
	Locale    string            `json:"locale"`
	Reference string            `json:"reference"`
	Vars      map[string]string `json:"vars,omitempty"`
	Known     bool              `json:"known"`
	SentAt    string            `json:"sent_at"`
	ExpiresAt string            `json:"expires_at"`
}

func newMailJSON(m otp.Message) mailJSON {
	return mailJSON{
		ID: m.ID, To: m.To.String(), Code: m.Code, Purpose: m.Purpose, Locale: m.Locale,
		Reference: m.Reference, Vars: m.Vars, Known: m.Known,
		SentAt: m.SentAt.UTC().Format(time.RFC3339Nano), ExpiresAt: m.ExpiresAt.UTC().Format(time.RFC3339Nano),
	}
}

func writeError(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": "otptest: " + err.Error()})
}

// writeJSON writes strings and booleans, which can always be encoded.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, _ := json.Marshal(v)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
