package otpstats

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// mail connects the reports of providers with a challenge.
type mail struct {
	time      int64
	challenge otp.Hash
	provider  string
	lost      int64 // 1 if it is lost and its challenge not yet known, 2 once that is counted
}

// change is what one transaction touches, in memory.
type change struct {
	challenges map[otp.Hash]*challenge
	before     map[otp.Hash]*challenge // their old state; new ones are missing
	mails      map[otp.Hash]*mail
	rollup     rollup
	forgotten  []otp.Hash
}

// write stores a batch in one transaction, exactly once: if the reply to a
// commit was lost, the number of the batch shows that it is already stored.
func (s *Stats) write(ctx context.Context, batch []event, number int64) error {
	ch := change{challenges: map[otp.Hash]*challenge{}, before: map[otp.Hash]*challenge{}, mails: map[otp.Hash]*mail{}, rollup: rollup{}}
	err := s.update(ctx, func(tx *sql.Tx) error {
		n, err := s.exec(ctx, tx, `INSERT INTO {p}writers AS w (id, batch, time) VALUES (?, ?, ?) ON CONFLICT (id)
			DO UPDATE SET batch = excluded.batch, time = excluded.time WHERE w.batch < excluded.batch`, s.id, number, s.opts.Now().UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		if err := s.insertEvents(ctx, tx, batch); err != nil {
			return err
		}
		if err := s.load(ctx, tx, &ch, batch); err != nil {
			return err
		}
		for i := range batch {
			s.apply(&ch, &batch[i])
		}
		return s.save(ctx, tx, &ch)
	})
	if err == nil {
		s.watch.forget(ch.forgotten...)
	}
	return err
}

func (s *Stats) insertEvents(ctx context.Context, tx *sql.Tx, batch []event) error {
	type minuteOf struct {
		kind   kind
		minute int64
	}
	list, places := make([]event, 0, len(batch)), map[minuteOf]int{}
	for i := range batch {
		e := &batch[i]
		if e.each() {
			list = append(list, *e)
		}
		if !e.kind.perMinute() {
			continue
		}
		key := minuteOf{e.kind, e.time / 60000}
		if place, known := places[key]; known {
			list[place].times += e.times
			continue
		}
		places[key] = len(list)
		list = append(list, event{kind: e.kind, time: e.time, times: e.times})
	}
	rows := make([][]any, len(list))
	for i := range list {
		rows[i] = list[i].row()
	}
	return s.insert(ctx, tx, "INSERT INTO {p}events ("+eventColumns+")", rows, "")
}

// load reads the mails and challenges of the batch.
func (s *Stats) load(ctx context.Context, tx *sql.Tx, ch *change, batch []event) error {
	ids, mails := map[otp.Hash]bool{}, map[otp.Hash]bool{}
	for i := range batch {
		ids[batch[i].challenge], mails[batch[i].mail] = true, true
	}
	err := s.loadAll(ctx, tx, mails, "SELECT id, time, challenge, provider, lost FROM {p}mails", func(rows *sql.Rows) error {
		var id, challenge []byte
		m := &mail{}
		err := rows.Scan(&id, &m.time, &challenge, &m.provider, &m.lost)
		copy(m.challenge[:], challenge)
		ch.mails[hashOf(id)], ids[m.challenge] = m, true
		return err
	})
	if err != nil {
		return err
	}
	return s.loadAll(ctx, tx, ids, "SELECT "+challengeColumns+" FROM {p}challenges", func(rows *sql.Rows) error {
		c, err := scanChallenge(rows)
		if err == nil {
			was := *c
			ch.challenges[c.id], ch.before[c.id] = c, &was
		}
		return err
	})
}

// loadAll reads the rows with the ids.
func (s *Stats) loadAll(ctx context.Context, tx *sql.Tx, ids map[otp.Hash]bool, text string, scan func(*sql.Rows) error) error {
	delete(ids, otp.Hash{})
	all := make([]any, 0, len(ids))
	for id := range ids {
		all = append(all, id[:])
	}
	for some := range slices.Chunk(all, 500) {
		rows, err := s.query(ctx, tx, text+" WHERE id IN "+placeholders(len(some)), some...)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := scan(rows); err != nil {
				rows.Close()
				return err
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

const challengeColumns = "id, opened, address, purpose, language, domain, provider, app, mails, lost, again, decoys, failed, wrong, malformed, expired, exhausted, strong, age, ended"

func scanChallenge(rows *sql.Rows) (*challenge, error) {
	var id, address []byte
	c := &challenge{}
	err := rows.Scan(&id, &c.opened, &address, &c.purpose, &c.language, &c.domain, &c.provider, &c.app,
		&c.mails, &c.lost, &c.again, &c.decoys, &c.failed, &c.wrong, &c.malformed, &c.expired, &c.exhausted, &c.strong, &c.age, &c.ended)
	c.id, c.address = hashOf(id), hashOf(address)
	return c, err
}

func (c *challenge) row() []any {
	return []any{
		c.id[:], c.opened, blob(c.address), c.purpose, c.language, c.domain, c.provider, c.app,
		c.mails, c.lost, c.again, c.decoys, c.failed, c.wrong, c.malformed, c.expired, c.exhausted, c.strong, c.age, c.ended,
	}
}

// apply applies one event, in memory.
func (s *Stats) apply(ch *change, e *event) {
	var t tally
	switch e.kind {
	case kindForgotten:
		ch.forgotten = append(ch.forgotten, e.address)
	case kindMail:
		s.applyMail(ch, e)
	case kindAsked:
		t[asked], t[resendAsked] = b2i(!e.resend), b2i(e.resend)
		ch.rollup.add(e.time, e.values(), &t, e.times)
	case kindLimited:
		t[limited], t[limitedClient], t[limitedAll] = 1, b2i(e.scope == ofClient), b2i(e.scope == ofAll)
		ch.rollup.add(e.time, e.values(), &t, e.times)
	case kindUnknown:
		t[unknownID] = 1
		ch.rollup.add(e.time, e.values(), &t, e.times)
	case kindRevoked:
		t[revoked] = 1
		ch.rollup.add(e.time, e.values(), &t, e.times)
	case kindFailed, kindClockBack, kindUnknownKey:
		t[failures] = 1
		ch.rollup.add(e.time, e.values(), &t, e.times)
	case kindSent, kindDecoy, kindSendFailed, kindRefused, kindSendLeft, kindVerified, kindWrong, kindMalformed, kindExpired, kindExhausted:
		c, known := ch.challenges[e.challenge]
		if !known {
			c = &challenge{id: e.challenge, opened: e.opened(), address: e.address, values: e.values(), age: -1}
			// Only the event counts if it has no challenge, if its challenge
			// has expired and been deleted, or if it says nothing about its
			// challenge.
			if e.challenge == (otp.Hash{}) || e.age >= s.opts.Over.Milliseconds() || e.kind == kindMalformed && e.domain == "" {
				c.apply(e)
				c.mails, c.age = 0, -1
				t = c.tally()
				ch.rollup.add(c.opened, c.values, &t, 1)
				return
			}
			ch.challenges[e.challenge] = c
		}
		c.apply(e)
		if e.kind == kindSent && e.mail != (otp.Hash{}) {
			m := ch.mailOf(e)
			m.challenge = c.id
			c.join(m)
		}
	}
}

// mailOf returns the mail that e is about, and creates it if necessary.
func (ch *change) mailOf(e *event) *mail {
	m := ch.mails[e.mail]
	if m == nil {
		m = &mail{time: e.time}
		ch.mails[e.mail] = m
	}
	return m
}

// join adds to a challenge what is known about one of its mails.
func (c *challenge) join(m *mail) {
	if c.provider == "" {
		c.provider = m.provider
	}
	if m.lost == 1 {
		c.lost++
		m.lost = 2
	}
}

func (s *Stats) applyMail(ch *change, e *event) {
	var m *mail
	switch e.outcome {
	case otpevent.MailFailed:
		t := tally{failedTries: 1}
		ch.rollup.add(e.time, values{provider: e.provider}, &t, 1)
		return
	case otpevent.MailSent, otpevent.MailUnknown:
		m = ch.mailOf(e)
		m.provider = cmp.Or(m.provider, e.provider)
	case otpevent.MailRefused, otpevent.MailExpired, otpevent.MailDropped:
		m = ch.mailOf(e)
		m.lost = max(m.lost, 1)
	default:
		return
	}
	if c := ch.challenges[m.challenge]; c != nil {
		c.join(m)
	}
}

// save writes the change.
func (s *Stats) save(ctx context.Context, tx *sql.Tx, ch *change) error {
	var rows [][]any
	for id, c := range ch.challenges {
		was := ch.before[id]
		if was != nil {
			if *was == *c {
				continue
			}
			t := was.tally()
			ch.rollup.add(was.opened, was.values, &t, -1)
		}
		t := c.tally()
		ch.rollup.add(c.opened, c.values, &t, 1)
		rows = append(rows, c.row())
	}
	if err := s.insert(ctx, tx, "INSERT INTO {p}challenges ("+challengeColumns+")", rows, challengeUpsert); err != nil {
		return err
	}
	rows = rows[:0]
	for id, m := range ch.mails {
		rows = append(rows, []any{id[:], m.time, blob(m.challenge), m.provider, m.lost})
	}
	err := s.insert(ctx, tx, "INSERT INTO {p}mails (id, time, challenge, provider, lost)", rows,
		" ON CONFLICT (id) DO UPDATE SET challenge = excluded.challenge, provider = excluded.provider, lost = excluded.lost")
	if err != nil {
		return err
	}
	if err := s.addRollup(ctx, tx, ch.rollup); err != nil {
		return err
	}
	for _, h := range ch.forgotten {
		if err := s.erase(ctx, tx, h); err != nil {
			return err
		}
	}
	return nil
}

var challengeUpsert = upsert("id", "", strings.Split(challengeColumns, ", ")[6:])

// upsert returns the clause that sets the columns of an existing row or, if
// table is not empty, adds to them.
func upsert(key, table string, columns []string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = excluded." + c
		if table != "" {
			sets[i] = c + " = " + table + "." + c + " + excluded." + c
		}
	}
	return " ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(sets, ", ")
}

// rollupKey identifies a row of the roll-ups.
type rollupKey struct {
	grain int
	time  int64 // Unix seconds
	values
}

type rollup map[rollupKey]*tally

// add adds factor times t to the rows of all grains.
func (ru rollup) add(ms int64, v values, t *tally, factor int64) {
	hour := ms / hourMs * 3600
	day := ms / dayMs * 86400
	ru.addTo(rollupKey{grainAll, hour, v}, t, factor)
	ru.addTo(rollupKey{grainPurposeLanguage, hour, values{purpose: v.purpose, language: v.language}}, t, factor)
	ru.addTo(rollupKey{grainPurposeDomain, hour, values{purpose: v.purpose, domain: v.domain}}, t, factor)
	ru.addTo(rollupKey{grainLanguageDomain, hour, values{language: v.language, domain: v.domain}}, t, factor)
	for d, only := range [...]values{
		None: {}, Purpose: {purpose: v.purpose}, Language: {language: v.language}, Domain: {domain: v.domain},
		Provider: {provider: v.provider}, App: {app: v.app},
	} {
		if d == int(Hour) || d == int(Day) {
			continue
		}
		ru.addTo(rollupKey{grainHour + d, hour, only}, t, factor)
		ru.addTo(rollupKey{grainDay + d, day, only}, t, factor)
	}
}

func (ru rollup) addTo(k rollupKey, t *tally, factor int64) {
	sum := ru[k]
	if sum == nil {
		sum = new(tally)
		ru[k] = sum
	}
	sum.add(t, factor)
}

const rollupKeyColumns = "grain, time, purpose, language, domain, provider, app"

var (
	rollupHead = "INSERT INTO {p}rollups AS r (" + rollupKeyColumns + ", " + strings.Join(columnNames[:], ", ") + ")"
	rollupTail = upsert(rollupKeyColumns, "r", columnNames[:])
)

func (s *Stats) addRollup(ctx context.Context, tx *sql.Tx, ru rollup) error {
	keys := slices.SortedFunc(maps.Keys(ru), func(a, b rollupKey) int {
		return cmp.Or(cmp.Compare(a.grain, b.grain), cmp.Compare(a.time, b.time), cmp.Compare(a.purpose, b.purpose),
			cmp.Compare(a.language, b.language), cmp.Compare(a.domain, b.domain), cmp.Compare(a.provider, b.provider), cmp.Compare(a.app, b.app))
	})
	var rows [][]any
	for _, k := range keys {
		t := ru[k]
		if *t == (tally{}) {
			continue
		}
		row := append(make([]any, 0, 7+tallyColumns), k.grain, k.time, k.purpose, k.language, k.domain, k.provider, k.app)
		for _, n := range t {
			row = append(row, n)
		}
		rows = append(rows, row)
	}
	return s.insert(ctx, tx, rollupHead, rows, rollupTail)
}
