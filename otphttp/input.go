package otphttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"
)

const (
	// maxBody is the longest body, in bytes: an address, a code, an ID, a
	// token.
	maxBody = 4 << 10

	// maxRead is how long a body may take to arrive.
	maxRead = 10 * time.Second
)

// input is the content of the body of a request.
type input struct {
	json       bool // the body is JSON, so the request belongs to the API
	hasAddress bool
	address    string
	code       string
	id         string
	reference  string
	device     string
	next       string
	held       []string // IDs of challenges that the caller has
}

// requestError means that the request is invalid.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return "otphttp: " + e.text }

var tooLarge = &requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("body exceeds %d bytes", maxBody)}

func badRequest(text string) error { return &requestError{http.StatusBadRequest, text} }

// readInput reads the body. A duplicate field is an error: two readers could
// each use a different one (CVE-2023-7028, OWASP ASVS 15.3.7).
func (x *exchange) readInput() error {
	x.in.json = isJSON(x.r)
	if !x.in.json && !isForm(x.r) {
		return &requestError{http.StatusUnsupportedMediaType, "body must be a form or JSON"}
	}
	fields, err := x.fields()
	if err != nil {
		return err
	}
	names := map[string]*string{
		"address": &x.in.address, "code": &x.in.code, "reference": &x.in.reference, "next": &x.in.next,
	}
	// A browser has all of them in its cookies. If a form could contain them,
	// its author could sign visitors in to the author's account, in browsers
	// too old to send the origin of a form.
	if x.in.json {
		names["id"], names["device"] = &x.in.id, &x.in.device
		x.in.held = fields["held"]
	}
	for name, into := range names {
		switch values := fields[name]; len(values) {
		case 0:
		case 1:
			*into = values[0]
		default:
			return badRequest(fmt.Sprintf("duplicate field %q", name))
		}
	}
	x.in.hasAddress = fields.Has("address")
	if x.in.next = x.local(x.in.next); x.in.next == "" {
		fields.Del("next")
	}
	x.r.PostForm, x.r.Form = fields, fields // for the hooks
	return nil
}

// fields returns the fields of the body.
func (x *exchange) fields() (url.Values, error) {
	if form := x.r.PostForm; !x.in.json && form != nil { // middleware has parsed it
		if len(form.Encode()) > maxBody {
			return nil, tooLarge
		}
		x.reportGone(len(form))
		http.NewResponseController(x.w).SetReadDeadline(time.Time{})
		return form, nil
	}
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	x.reportGone(len(body))
	if x.in.json {
		return readObject(body)
	}
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("malformed form")
	}
	return fields, nil
}

// reportGone reports a body of which nothing is left.
func (x *exchange) reportGone(left int) {
	if left == 0 && x.r.ContentLength > 0 {
		x.reportError(errors.New("otphttp: something in front of the handler has read the body of the request: let it call r.ParseForm, or exempt the paths of the handler from it"))
	}
}

// isJSON reports whether a request belongs to the API.
func isJSON(r *http.Request) bool { return bodyKind(r) == "application/json" }

// isForm reports whether a request comes from the form of a page.
func isForm(r *http.Request) bool { return bodyKind(r) == "application/x-www-form-urlencoded" }

// bodyKind returns the media type of the body, "" if it has none or an invalid
// one.
func bodyKind(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// boundBodyTime limits how long a slow client may take to send the body. The
// limit also holds when a request is rejected, since the server reads the rest
// of a body before it sends the answer. If the connection does not support
// deadlines, those of the server apply.
func (x *exchange) boundBodyTime() {
	if x.r.ContentLength != 0 {
		http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(maxRead))
	}
}

// body reads the whole body.
func (x *exchange) body() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge
	case err != nil:
		return nil, &requestError{http.StatusBadRequest, "body is incomplete"}
	}
	http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return body, nil
}

// readObject reads an object of strings, in which only "held" is a list of
// strings. Unlike Unmarshal, it rejects duplicate names and does not ignore
// their case.
func readObject(body []byte) (url.Values, error) {
	if !utf8.Valid(body) {
		return nil, badRequest("body is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, badRequest("body is not a JSON object")
	}
	fields, seen := url.Values{}, map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, badRequest("malformed JSON")
		}
		value, err := dec.Token()
		if err != nil {
			return nil, badRequest("malformed JSON")
		}
		key := name.(string)
		if seen[key] {
			return nil, badRequest("duplicate field")
		}
		seen[key] = true
		switch v := value.(type) {
		case string:
			fields.Set(key, v)
		case nil: // the same as a missing field
		default:
			if key != "held" || v != json.Delim('[') {
				return nil, badRequest("fields must be strings")
			}
			if fields[key], err = readList(dec); err != nil {
				return nil, err
			}
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, badRequest("malformed JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, badRequest("data after the JSON object")
	}
	return fields, nil
}

// readList reads the rest of a list of strings.
func readList(dec *json.Decoder) (list []string, err error) {
	for dec.More() {
		value, err := dec.Token()
		if err != nil {
			return nil, badRequest("malformed JSON")
		}
		s, ok := value.(string)
		if !ok {
			return nil, badRequest(`field "held" must be a list of strings`)
		}
		list = append(list, s)
	}
	if _, err := dec.Token(); err != nil { // of the end of the list
		return nil, badRequest("malformed JSON")
	}
	return list, nil
}
