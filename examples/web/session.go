package main

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

const (
	// Other hosts cannot set a cookie with this prefix (RFC 6265bis 4.1.3.2).
	sessionCookie = "__Host-session"
	sessionLife   = 12 * time.Hour
)

// sessions keeps the sessions on the server; the browser has only an ID. A real
// application has a session store for this, which also deletes expired
// sessions.
type sessions struct {
	now  func() time.Time
	mu   sync.Mutex
	byID map[string]session
}

// session belongs to a user who is signed in. Other visitors have no session.
type session struct {
	user  string // the ID of the account
	since time.Time
}

// find returns the visitor's session, if there is one.
func (s *sessions) find(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byID[cookie.Value]
	if !ok || s.expired(found) {
		return session{}, false
	}
	return found, true
}

// renew gives the visitor a session with a new ID and ends the old session, so
// that an ID that an attacker knew or set before is useless (OWASP ASVS 7.2.4).
func (s *sessions) renew(w http.ResponseWriter, r *http.Request, user string) {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(r)
	for other, old := range s.byID {
		if s.expired(old) {
			delete(s.byID, other)
		}
	}
	s.byID[id] = session{user: user, since: s.now()}
	setSession(w, id, sessionLife)
}

// end signs the visitor out.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(r)
	setSession(w, "", -time.Second)
}

// endAll signs a user out everywhere.
func (s *sessions) endAll(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.byID {
		if old.user == user {
			delete(s.byID, id)
		}
	}
}

// drop ends the visitor's session. The caller holds s.mu.
func (s *sessions) drop(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		delete(s.byID, cookie.Value)
	}
}

// expired reports whether a session has expired.
func (s *sessions) expired(old session) bool { return s.now().Sub(old.since) > sessionLife }

func setSession(w http.ResponseWriter, id string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", MaxAge: int(life.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
