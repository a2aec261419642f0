package otpstats

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/go-mailotp/otp"
)

// mail joins what a provider reports to the challenge.
type mail struct {
	time      int64
	challenge otp.Hash
	provider  string
	lost      int64 // 1 where it is lost and its challenge is not known yet, 2 where that is counted
}

// change is one transaction's view of what it touches.
type change struct {
	challenges map[otp.Hash]*challenge
	before     map[otp.Hash]*challenge // as they were; nil for new ones
	mails      map[otp.Hash]*mail
	rollup     rollup
	forgotten  []otp.Hash
}

// write stores a batch, in one transaction and once only: a batch whose commit was lost
// on the way is known by its number.
func (s *Stats) write(ctx context.Context, batch []record, number int64) error {
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

func (s *Stats) insertEvents(ctx context.Context, tx *sql.Tx, batch []record) error {
	rows := make([][]any, 0, len(batch))
	for i := range batch {
		r := &batch[i]
		if r.kind == kindMail || r.kind == kindForgotten {
			continue
		}
		rows = append(rows, []any{
			r.time, int64(r.kind), one(r.resend), one(r.strong), one(r.decoy), r.purpose, r.locale, r.domain, r.app,
			blob(r.address), blob(r.client), blob(r.challenge), r.age.Milliseconds(), r.wrongs,
		})
	}
	return s.insert(ctx, tx, `INSERT INTO {p}events (time, kind, resend, strong, decoy, purpose, language, domain, app, address, client, challenge, age, wrongs)`, rows, "")
}

// blob is a hash as it is stored, nil for none.
func blob(h otp.Hash) []byte {
	if h == (otp.Hash{}) {
		return nil
	}
	return h[:]
}

// load reads the mails and challenges that the batch is about.
func (s *Stats) load(ctx context.Context, tx *sql.Tx, ch *change, batch []record) error {
	ids, messages := map[otp.Hash]bool{}, map[otp.Hash]bool{}
	for i := range batch {
		ids[batch[i].challenge], messages[batch[i].message] = true, true
	}
	err := s.loadAll(ctx, tx, messages, "SELECT id, time, challenge, provider, lost FROM {p}mails", func(rows *sql.Rows) error {
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

func hashOf(b []byte) (h otp.Hash) { copy(h[:], b); return h }

// loadAll reads the rows with the ids.
func (s *Stats) loadAll(ctx context.Context, tx *sql.Tx, ids map[otp.Hash]bool, text string, scan func(*sql.Rows) error) error {
	delete(ids, otp.Hash{})
	all := make([]any, 0, len(ids))
	for id := range ids {
		all = append(all, id[:])
	}
	for some := range slices.Chunk(all, 500) {
		rows, err := s.query(ctx, tx, text+" WHERE id IN "+marks(len(some)), some...)
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

// apply is one record, in memory.
func (s *Stats) apply(ch *change, r *record) {
	var t tally
	switch r.kind {
	case kindForgotten:
		ch.forgotten = append(ch.forgotten, r.address)
	case kindMail:
		s.applyMail(ch, r)
	case kindAsked:
		t[asked], t[resendAsked] = one(r.challenge == otp.Hash{}), one(r.challenge != otp.Hash{})
		ch.rollup.add(r.time, r.values(), &t, 1)
	case kindLimited:
		t[limited] = 1
		ch.rollup.add(r.time, r.values(), &t, 1)
	case kindFailed, kindClockBack, kindUnknownKey:
		t[failures] = 1
		ch.rollup.add(r.time, r.values(), &t, 1)
	case kindSent, kindDecoy, kindSendFailed, kindRefused, kindSendLeft, kindVerified, kindWrong, kindMalformed, kindExpired, kindExhausted, kindEscalated:
		c, known := ch.challenges[r.challenge]
		if !known {
			c = &challenge{id: r.challenge, opened: r.opened(), address: r.address, values: r.values(), age: -1}
			// Without a challenge, for one that is over and gone, and for what tells nothing of
			// its challenge, only the event counts.
			if r.challenge == (otp.Hash{}) || r.age >= s.opts.Over || r.kind == kindMalformed && r.domain == "" {
				c.apply(r)
				c.mails, c.age = 0, -1
				t = c.tally()
				ch.rollup.add(c.opened, c.values, &t, 1)
				return
			}
			ch.challenges[r.challenge] = c
		}
		c.apply(r)
		if r.kind == kindSent && r.message != (otp.Hash{}) {
			m := ch.mails[r.message]
			if m == nil {
				m = &mail{time: r.time}
				ch.mails[r.message] = m
			}
			m.challenge = c.id
			c.join(m)
		}
	}
}

// join gives a challenge what is known of one of its mails.
func (c *challenge) join(m *mail) {
	if c.provider == "" {
		c.provider = m.provider
	}
	if m.lost == 1 {
		c.lost++
		m.lost = 2
	}
}

func (s *Stats) applyMail(ch *change, r *record) {
	m := ch.mails[r.message]
	switch r.outcome {
	case MailFailed:
		t := tally{failedTries: 1}
		ch.rollup.add(r.time, values{provider: r.provider}, &t, 1)
		return
	case MailSent, MailUnknown:
		if m == nil {
			m = &mail{time: r.time}
			ch.mails[r.message] = m
		}
		m.provider = cmp.Or(m.provider, r.provider)
	case MailRefused, MailExpired, MailDropped:
		if m == nil {
			m = &mail{time: r.time}
			ch.mails[r.message] = m
		}
		m.lost = max(m.lost, 1)
	default:
		return
	}
	if c := ch.challenges[m.challenge]; c != nil {
		c.join(m)
	}
}

// save writes what has changed.
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

// upsert sets the columns of a row that is there already, or adds to them.
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

// place is a row of the roll-ups.
type place struct {
	grain int
	time  int64 // Unix seconds
	values
}

type rollup map[place]*tally

// add counts in all the grains.
func (ru rollup) add(ms int64, v values, t *tally, sign int64) {
	hour := ms / hourMs * 3600
	day := ms / dayMs * 86400
	ru.addTo(place{grainAll, hour, v}, t, sign)
	ru.addTo(place{grainPurposeLanguage, hour, values{purpose: v.purpose, language: v.language}}, t, sign)
	ru.addTo(place{grainPurposeDomain, hour, values{purpose: v.purpose, domain: v.domain}}, t, sign)
	ru.addTo(place{grainLanguageDomain, hour, values{language: v.language, domain: v.domain}}, t, sign)
	for d, one := range [...]values{
		None: {}, Purpose: {purpose: v.purpose}, Language: {language: v.language}, Domain: {domain: v.domain},
		Provider: {provider: v.provider}, App: {app: v.app},
	} {
		if d == int(Hour) || d == int(Day) {
			continue
		}
		ru.addTo(place{grainHour + d, hour, one}, t, sign)
		ru.addTo(place{grainDay + d, day, one}, t, sign)
	}
}

func (ru rollup) addTo(p place, t *tally, sign int64) {
	sum := ru[p]
	if sum == nil {
		sum = new(tally)
		ru[p] = sum
	}
	sum.add(t, sign)
}

const rollupKey = "grain, time, purpose, language, domain, provider, app"

var (
	rollupHead = "INSERT INTO {p}rollups AS r (" + rollupKey + ", " + strings.Join(columnNames[:], ", ") + ")"
	rollupTail = upsert(rollupKey, "r", columnNames[:])
)

func (s *Stats) addRollup(ctx context.Context, tx *sql.Tx, ru rollup) error {
	keys := slices.SortedFunc(maps.Keys(ru), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.grain, b.grain), cmp.Compare(a.time, b.time), cmp.Compare(a.purpose, b.purpose),
			cmp.Compare(a.language, b.language), cmp.Compare(a.domain, b.domain), cmp.Compare(a.provider, b.provider), cmp.Compare(a.app, b.app))
	})
	var rows [][]any
	for _, p := range keys {
		t := ru[p]
		if *t == (tally{}) {
			continue
		}
		row := append(make([]any, 0, 7+tallyColumns), p.grain, p.time, p.purpose, p.language, p.domain, p.provider, p.app)
		for _, n := range t {
			row = append(row, n)
		}
		rows = append(rows, row)
	}
	return s.insert(ctx, tx, rollupHead, rows, rollupTail)
}
