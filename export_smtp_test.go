package otp

// Compose gives the bytes of a mail without a server.
func (s *SMTPSender) Compose(m Message) ([]byte, error) { return s.compose(m, m.To.String()) }
