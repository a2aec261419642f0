package otphttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

// The requests in docs/mobile.md get the answers in docs/mobile.md, with real
// values in place of the names in capitals.
func TestMobile(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	raw, err := os.ReadFile("../docs/mobile.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```http\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	require.Len(t, blocks, 12)

	values := map[string]string{"DEVICE": "none"}
	for i := 0; i < len(blocks); i += 2 {
		request, want := put(values, blocks[i][1]), blocks[i+1][1]
		line, rest, _ := strings.Cut(request, "\n")
		method, path, _ := strings.Cut(line, " ")
		head, body, _ := strings.Cut(rest, "\n\n")
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		for header := range strings.Lines(head) {
			name, value, _ := strings.Cut(strings.TrimSpace(header), ": ")
			r.Header.Set(name, value)
		}
		answer, got := s.do(r)

		status, rest, _ := strings.Cut(want, "\n")
		require.Equal(t, status, strconv.Itoa(answer.StatusCode), got)
		if header, after, ok := strings.Cut(rest, "\n{"); ok {
			name, value, _ := strings.Cut(header, ": ")
			require.Equal(t, value, answer.Header.Get(name))
			rest = "{" + after
		}
		var gotFields, wantFields map[string]any
		require.NoError(t, json.Unmarshal([]byte(got), &gotFields))
		if id, ok := gotFields["id"].(string); ok {
			values["ID"] = id
		}
		if m, ok := s.inbox.Last("bob@example.com"); ok {
			values["KQZT"], values["CODE"], values["WRONG"] = m.Reference, m.Code, testkit.WrongCode(m.Code)
			require.Equal(t, "de", m.Locale)
		}
		if len(s.verified) > 0 {
			values["NEW DEVICE"] = s.verified[0].Device
		}
		require.NoError(t, json.Unmarshal([]byte(put(values, rest)), &wantFields))
		if wantFields["detail"] != nil {
			require.NotEmpty(t, gotFields["detail"])
			wantFields["detail"] = gotFields["detail"]
		}
		require.Equal(t, wantFields, gotFields)
	}
	require.Len(t, s.verified, 1)
	require.Empty(t, s.errors)
}

// put replaces names in quotes by their values.
func put(values map[string]string, text string) string {
	for name, value := range values {
		text = strings.ReplaceAll(text, `"`+name+`"`, `"`+value+`"`)
	}
	return text
}

// The Go code in docs/mobile.md is the code of this test.
func TestMobile_session(t *testing.T) {
	newSession := func(address string) string { return "token of " + address }
	s := newSite(t, otphttp.Options{
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]string{
				"token":  newSession(c.To.String()), // for the proven address
				"device": c.Device,
			})
		},
	}, nil)
	source, err := os.ReadFile("mobile_test.go")
	require.NoError(t, err)
	raw, err := os.ReadFile("../docs/mobile.md")
	require.NoError(t, err)
	code := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(string(raw))[1]
	require.Contains(t, strings.ReplaceAll(string(source), "\n\t\t", "\n"), strings.TrimSpace(code))

	_, v := s.api("start", map[string]string{"address": "bob@example.com"})
	answer, v := s.api("check", map[string]string{"id": v["id"].(string), "code": s.inbox.Code("bob@example.com")})
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "token of bob@example.com", v["token"])
	require.NotEmpty(t, v["device"])
}
