package main

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"
)

const (
	// The prefix keeps other hosts from setting it (RFC 6265bis 4.1.3.2).
	sessionCookie = "__Host-session"
	sessionLife   = 12 * time.Hour
)

// sessions are on the server; the browser has an ID only. They would be in the
// application's session store, which also removes those that are over.
type sessions struct {
	now  func() time.Time
	mu   sync.Mutex
	byID map[string]session
}

// session is of somebody who has signed in: there are none before.
type session struct {
	user  string // the ID of the account
	since time.Time
}

// find is the visitor's session, if there is one.
func (s *sessions) find(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byID[cookie.Value]
	if !ok || s.over(found) {
		return session{}, false
	}
	return found, true
}

// renew puts the visitor into a session with a new ID and ends the old one, so that
// an ID which somebody knew or planted before is worth nothing (OWASP ASVS 7.2.4).
func (s *sessions) renew(w http.ResponseWriter, r *http.Request, user string) {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(r)
	for other, old := range s.byID {
		if s.over(old) {
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

// endAll signs somebody out everywhere.
func (s *sessions) endAll(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.byID {
		if old.user == user {
			delete(s.byID, id)
		}
	}
}

// drop and over are called with s.mu held.
func (s *sessions) drop(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		delete(s.byID, cookie.Value)
	}
}

func (s *sessions) over(old session) bool { return s.now().Sub(old.since) > sessionLife }

func setSession(w http.ResponseWriter, id string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: id, Path: "/", MaxAge: int(life.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
