package otphttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"
)

const (
	// maxBody is the longest body, in bytes: an address, a code, an ID, a token.
	maxBody = 4 << 10

	// maxRead is how long a body may take to arrive.
	maxRead = 10 * time.Second
)

// input is what a request says.
type input struct {
	json       bool // it is the API's
	hasAddress bool
	address    string
	code       string
	id         string
	reference  string
	device     string
	next       string
}

// requestError is a request that cannot be read.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return "otphttp: " + e.text }

func badRequest(text string) error { return &requestError{http.StatusBadRequest, text} }

// read reads the body. A field that stands there twice is refused: two readers
// could each take another one (CVE-2023-7028, OWASP ASVS 15.3.7).
func (x *exchange) read() error {
	kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	x.in.json = err == nil && kind == "application/json"
	if err != nil || !x.in.json && kind != "application/x-www-form-urlencoded" {
		return &requestError{http.StatusUnsupportedMediaType, "the body is neither a form nor JSON"}
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	var fields url.Values
	if x.in.json {
		fields, err = readObject(body)
	} else if fields, err = url.ParseQuery(string(body)); err != nil {
		err = badRequest("the form is malformed")
	}
	if err != nil {
		return err
	}
	names := map[string]*string{
		"address": &x.in.address, "code": &x.in.code, "reference": &x.in.reference, "next": &x.in.next,
	}
	// A browser has both in its cookies. A form that could bring them along could
	// sign somebody in as its author, in browsers too old to tell whose it is.
	if x.in.json {
		names["id"], names["device"] = &x.in.id, &x.in.device
	}
	for name, into := range names {
		switch values := fields[name]; len(values) {
		case 0:
		case 1:
			*into = values[0]
		default:
			return badRequest(name + " is there twice")
		}
	}
	x.in.hasAddress = fields.Has("address")
	x.in.next = local(x.in.next)
	x.r.PostForm, x.r.Form = fields, fields // for the hooks
	return nil
}

// hurry bounds how long a slow client may take over the body. It stands while a
// request is refused, since the server reads what is left of a body before it
// sends the answer. Where the connection has no deadlines, the server's count.
func (x *exchange) hurry() {
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
		return nil, &requestError{http.StatusRequestEntityTooLarge, "the body is too long"}
	case err != nil:
		return nil, &requestError{http.StatusBadRequest, "the body did not arrive"}
	}
	http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	return body, nil
}

// readObject reads an object of strings. Unlike Unmarshal it refuses names that
// are there twice and takes none in other case.
func readObject(body []byte) (url.Values, error) {
	if !utf8.Valid(body) {
		return nil, badRequest("the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, badRequest("the body is no JSON object")
	}
	fields, seen := url.Values{}, map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, badRequest("the JSON is malformed")
		}
		value, err := dec.Token()
		if err != nil {
			return nil, badRequest("the JSON is malformed")
		}
		key := name.(string)
		if seen[key] {
			return nil, badRequest("a field is there twice")
		}
		seen[key] = true
		switch v := value.(type) {
		case string:
			fields.Set(key, v)
		case nil: // as if it was not there
		default:
			return nil, badRequest("a field is no string")
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, badRequest("the JSON is malformed")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, badRequest("something follows the JSON object")
	}
	return fields, nil
}
