package relay_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/relay"
)

// What the mail server does with the mails that a stranger asks for.
var mailServers = map[string]otp.SenderFunc{
	"quick": func(context.Context, otp.Message) error { return nil },
	"two seconds": func(ctx context.Context, _ otp.Message) error {
		select {
		case <-time.After(2 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	},
	"refuses": func(context.Context, otp.Message) error { return errGone },
	"busy":    func(context.Context, otp.Message) error { return errBusy },
	"loses":   func(context.Context, otp.Message) error { return errLost },
	"hangs":   func(ctx context.Context, _ otp.Message) error { <-ctx.Done(); return ctx.Err() },
	"panics":  func(context.Context, otp.Message) error { panic("no") },
}

// newLogin serves sign-in with the sender; "no..." are addresses without an
// account.
func newLogin(t testing.TB, sender otp.Sender, opts otp.Options) http.Handler {
	opts.Admit = func(_ context.Context, a otp.Address) (bool, error) { return !strings.HasPrefix(a.String(), "no"), nil }
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &opts)
	require.NoError(t, err)
	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {},
		ClientKey:  func(*http.Request) string { return "" }, // not what is tested
	})
	require.NoError(t, err)
	return login
}

var what = regexp.MustCompile(`[A-Za-z0-9_-]{64}(\.[A-Za-z0-9_-]+)?|\b(reference":"|ref=|__Host-otp=)[A-Z]{4}`)

// ask posts and returns the answer, with what is random made equal, and the ID.
func ask(h http.Handler, step, content, body, cookie string) (answer, id string) {
	r := httptest.NewRequest(http.MethodPost, "/login/"+step, strings.NewReader(body))
	r.Header.Set("Content-Type", content)
	r.Header.Set("Cookie", cookie)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var b strings.Builder
	fmt.Fprintln(&b, w.Code)
	w.Result().Header.Write(&b)
	b.WriteString(w.Body.String())
	id = what.FindString(w.Body.String())
	for _, c := range w.Result().Cookies() {
		id = c.Name + "=" + c.Value
	}
	return what.ReplaceAllString(b.String(), "*"), id
}

const aForm, anObject = "application/x-www-form-urlencoded", "application/json"

// C3: behind a queue start and resend answer at once and alike, whatever the
// mail server does and whether there is an account. Time is the test's: an
// answer that waits for the mail shows.
func TestHTTP_atOnce(t *testing.T) {
	answers := map[string]bool{}
	for name, server := range mailServers {
		for _, address := range []string{"yes@example.com", "non@example.com"} {
			synctest.Test(t, func(t *testing.T) {
				q, _ := newQueue(t, server, relay.QueueOptions{})
				h := newLogin(t, q, otp.Options{})
				began := time.Now()
				app, id := ask(h, "start", anObject, `{"address":"`+address+`"}`, "")
				page, cookie := ask(h, "start", aForm, "address="+strings.Replace(address, "@", "2@", 1), "")
				require.Zero(t, time.Since(began), name)
				time.Sleep(time.Minute)
				began = time.Now()
				again, _ := ask(h, "resend", anObject, `{"id":"`+id+`"}`, "")
				pageAgain, _ := ask(h, "resend", aForm, "", cookie)
				require.Zero(t, time.Since(began), name)
				all := app + page + again + pageAgain
				require.Equal(t, 2, strings.Count(all, "202\n"), all)
				require.Equal(t, 2, strings.Count(all, "303\n"), all)
				all = strings.NewReplacer("n***@", "?***@", "y***@", "?***@").Replace(all)
				answers[all] = true
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				q.Close(ctx)
			})
		}
	}
	require.Len(t, answers, 1)
}

// C3: while the queue is full, Options.Busy refuses starts and resends alike,
// whether there is an account or not.
func TestHTTP_fullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := newQueue(t, mailServers["hangs"], relay.QueueOptions{Size: 10})
		defer giveUp(t, q)
		h := newBusyLogin(t, q, otp.NewMemoryStore(nil))
		_, known := ask(h, "start", anObject, `{"address":"yes@example.com"}`, "")
		_, decoy := ask(h, "start", anObject, `{"address":"no@example.com"}`, "")
		fillWithStrangers(t, q)
		one, _ := ask(h, "start", anObject, `{"address":"yes2@example.com"}`, "")
		two, _ := ask(h, "start", anObject, `{"address":"no2@example.com"}`, "")
		require.Equal(t, one, two)
		require.Contains(t, one, "503")
		one, _ = ask(h, "resend", anObject, `{"id":"`+known+`"}`, "")
		two, _ = ask(h, "resend", anObject, `{"id":"`+decoy+`"}`, "")
		require.Equal(t, one, two)
		require.Contains(t, one, "503")
	})
}

// J3: while strangers fill the queue, the owner signs in with the device token
// of an earlier sign-in, both with an app and with a browser, and can have the
// mail sent again. An invalid token counts as a stranger's, as does one for
// another address. Until the queue takes the mail, all of this costs the store
// nothing.
func TestHTTP_fullQueueKnownDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox := &otptest.Inbox{}
		hangs := false
		q, _ := newQueue(t, otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
			if hangs && !m.Known {
				<-ctx.Done()
				return errBusy // so it stays in the queue
			}
			return inbox.Send(ctx, m)
		}), relay.QueueOptions{Size: 20})
		defer giveUp(t, q)
		trips := &counter{Store: otp.NewMemoryStore(nil)}
		h := newBusyLogin(t, q, trips)
		signIn := func(address, device string) (token string) {
			answer, id := ask(h, "start", anObject, `{"address":"`+address+`","device":"`+device+`"}`, "")
			require.Contains(t, answer, "202\n")
			time.Sleep(time.Minute) // until a worker gives up the mail that hangs
			answer, _ = ask(h, "check", anObject, `{"id":"`+id+`","code":"`+inbox.Code(address)+`"}`, "")
			require.Contains(t, answer, "200\n")
			token = regexp.MustCompile(`"device":"([^"]+)"`).FindStringSubmatch(answer)[1]
			require.NotEmpty(t, token)
			return token
		}
		owner, other := signIn("yes@example.com", ""), signIn("yes2@example.com", "")

		hangs = true
		fillWithStrangers(t, q)
		trips.n = 0
		for _, token := range []string{"", "x", other, owner[:len(owner)-1], strings.ToUpper(owner)} {
			answer, _ := ask(h, "start", anObject, `{"address":"yes@example.com","device":"`+token+`"}`, "")
			require.Contains(t, answer, "503\n", token)
			answer, _ = ask(h, "start", aForm, "address=yes@example.com", "__Host-otp-device="+token)
			require.Contains(t, answer, "503\n", token)
		}
		require.Zero(t, trips.n)

		_, cookie := ask(h, "start", aForm, "address=yes@example.com", "__Host-otp-device="+owner)
		require.Contains(t, cookie, "__Host-otp=")
		require.Equal(t, 2, trips.n)
		time.Sleep(time.Minute)
		answer, _ := ask(h, "resend", aForm, "", cookie)
		require.Contains(t, answer, "say=sentAgain")
		time.Sleep(time.Minute)
		signIn("yes@example.com", owner)
		require.True(t, q.Full(false))
	})
}

// newBusyLogin is newLogin with Options.Busy.
func newBusyLogin(t testing.TB, q *relay.Queue, store otp.Store) http.Handler {
	verifier, err := otp.NewVerifier(store, q, &otp.Options{
		Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")},
		Admit:   func(_ context.Context, a otp.Address) (bool, error) { return !strings.HasPrefix(a.String(), "no"), nil },
	})
	require.NoError(t, err)
	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {},
		Busy:       q.Full,
	})
	require.NoError(t, err)
	return login
}

// fillWithStrangers fills all places for strangers.
func fillWithStrangers(t testing.TB, q *relay.Queue) {
	for i := 0; ; i++ {
		if err := q.Send(t.Context(), message(t, i)); err != nil {
			require.ErrorIs(t, err, relay.ErrFull)
			require.True(t, q.Full(false))
			return
		}
	}
}

// giveUp closes the queue without waiting for its mails.
func giveUp(t testing.TB, q *relay.Queue) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q.Close(ctx)
}

// counter counts the trips to a store.
type counter struct {
	otp.Store
	n int
}

func (c *counter) Load(ctx context.Context, key string) ([]byte, error) {
	c.n++
	return c.Store.Load(ctx, key)
}

func (c *counter) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	c.n++
	return c.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

// Times of answers, compared: printed, not asserted, since a busy machine says
// anything. The cases take turns, and the p value is that of two equal
// distributions. C3
func TestTiming(t *testing.T) {
	testkit.Long(t)
	runs := testkit.Rounds(30, 150)
	for _, step := range []string{"start", "resend"} {
		times := map[string][]float64{}
		handlers, ids := map[string]http.Handler{}, map[string]string{}
		names := []string{"quick", "refuses", "hangs", "unknown", "quick again"}
		many := []otp.Limit{{N: 100, Per: time.Millisecond}}
		for _, name := range names {
			server := mailServers[strings.TrimSuffix(name, " again")]
			if server == nil {
				server = mailServers["quick"]
			}
			q, err := relay.NewQueue(server, &relay.QueueOptions{Size: 1 << 20})
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				q.Close(ctx)
			})
			handlers[name] = newLogin(t, q, otp.Options{Sends: many})
		}
		for i := range runs {
			for _, name := range names {
				prefix := "yes"
				if name == "unknown" {
					prefix = "non"
				}
				body := fmt.Sprintf(`{"address":"%s%d@example.com"}`, prefix, i)
				if step == "resend" {
					_, ids[name] = ask(handlers[name], "start", anObject, body, "")
					body = `{"id":"` + ids[name] + `"}`
				}
				began := time.Now()
				answer, _ := ask(handlers[name], step, anObject, body, "")
				times[name] = append(times[name], float64(time.Since(began).Microseconds()))
				require.Contains(t, answer, "202\n")
			}
		}
		for _, name := range names[1:] {
			t.Logf("%s: %s: median %.0f µs, of quick %.0f µs, Mann-Whitney p = %.3f",
				step, name, median(times[name]), median(times["quick"]), mannWhitney(times["quick"], times[name]))
		}
	}
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// mannWhitney is the two-sided p value of the rank sum test, by the normal
// approximation with correction for ties.
func mannWhitney(a, b []float64) float64 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	rank := map[float64]float64{}
	ties := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		rank[all[i]] = float64(i+1+j) / 2
		n := float64(j - i)
		ties += n*n*n - n
		i = j
	}
	sum := 0.0
	for _, x := range a {
		sum += rank[x]
	}
	na, nb := float64(len(a)), float64(len(b))
	n := na + nb
	u := sum - na*(na+1)/2
	sigma := math.Sqrt(na * nb / 12 * (n + 1 - ties/(n*(n-1))))
	return math.Erfc(math.Abs(u-na*nb/2) / sigma / math.Sqrt2)
}

func TestMannWhitney(t *testing.T) {
	var a, b []float64
	for i := range 50 {
		a, b = append(a, float64(i)), append(b, float64(i)+25)
	}
	require.InDelta(t, 1, mannWhitney(a, a), 1e-9)
	require.Less(t, mannWhitney(a, b), 1e-6)
}
