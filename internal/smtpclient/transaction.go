package smtpclient

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// step is a command of a transaction, in parts, and the first digits of the
// expected reply code.
type step struct {
	stage   string
	command [3]string
	want    int
}

// transact sends one mail to one recipient in as few round trips as the server
// supports. It needs four, or two with PIPELINING (RFC 2920), which allows
// MAIL, RCPT and DATA in one write, or one with CHUNKING too (RFC 3030), which
// allows the content in the same write. The client of go-smtp waits for the
// reply to each command.
//
// Every line of content must end in CRLF, and it must contain no other CR or
// LF.
//
// transact returns the stage that was reached. contentSent is true if all the
// content was written and was not definitely rejected; the mail must then not
// be sent again.
func (c *conn) transact(env Envelope, content []byte) (stage string, contentSent bool, err error) {
	if strings.ContainsAny(env.From+env.To, "\r\n<> ") {
		return StageMail, false, &Error{Stage: StageMail, Permanent: true, Err: errEnvelope}
	}
	if env.UTF8 && !c.offers.utf8 {
		return StageMail, false, &Error{Stage: StageMail, Permanent: true, Err: ErrNoSMTPUTF8}
	}
	c.sent++
	c.dirty = true
	end := ">\r\n"
	if env.UTF8 {
		end = "> SMTPUTF8\r\n"
	}
	steps := [3]step{
		{StageMail, [3]string{"MAIL FROM:<", env.From, end}, 250},
		{StageRcpt, [3]string{"RCPT TO:<", env.To, ">\r\n"}, 25},
		{StageData, [3]string{"DATA\r\n"}, 354},
	}
	if c.offers.pipelining && c.offers.chunking {
		steps[2] = step{stageDot, [3]string{"BDAT ", strconv.Itoa(len(content)), " LAST\r\n"}, 250}
		stage, contentSent, err = c.chunk(steps[:], content)
	} else {
		stage, contentSent, err = c.data(steps[:], content)
	}
	if err == nil {
		c.dirty = false
	}
	return stage, contentSent, err
}

// data performs the steps, the last of which is DATA, and then sends the
// content.
func (c *conn) data(steps []step, content []byte) (stage string, contentSent bool, err error) {
	if stage, waiting, err := c.commands(steps); err != nil {
		if waiting {
			// The server accepted DATA although no recipient was accepted, so
			// send an empty mail (RFC 2920 section 3.1).
			c.broken = c.write(append(c.out[:0], ".\r\n"...)) != nil
			if _, heard := c.read(2); !heard {
				c.broken = true
			}
		}
		return stage, false, err
	}
	if err := c.write(stuffed(c.out[:0], content)); err != nil {
		return StageData, true, err
	}
	err, _ = c.read(250)
	return stageDot, true, err
}

// commands sends commands, reads all replies and returns the first failure.
// waiting is true if the last command got the expected reply although an
// earlier one was rejected.
func (c *conn) commands(steps []step) (stage string, waiting bool, err error) {
	if c.offers.pipelining {
		if err := c.write(lines(c.out[:0], steps)); err != nil {
			return StageMail, false, err
		}
	}
	for i, s := range steps {
		if !c.offers.pipelining {
			if err := c.write(lines(c.out[:0], steps[i:i+1])); err != nil {
				return s.stage, false, err
			}
		}
		refused, heard := c.read(s.want)
		waiting = refused == nil
		if refused != nil && err == nil {
			stage, err = s.stage, refused
		}
		if !heard {
			c.broken = true
		}
		if !heard || err != nil && !c.offers.pipelining {
			return stage, false, err
		}
	}
	return stage, err != nil && waiting, err
}

// chunk performs the steps, the last of which is BDAT, with the content in the
// same write.
func (c *conn) chunk(steps []step, content []byte) (stage string, contentSent bool, err error) {
	if err := c.write(append(lines(slices.Grow(c.out[:0], len(content)+600), steps), content...)); err != nil {
		return StageMail, false, err // not everything was sent
	}
	for _, s := range steps {
		refused, heard := c.read(s.want)
		if refused != nil && err == nil {
			stage, err = s.stage, refused
			// If the sender or the recipient was rejected, nobody gets the
			// mail.
			contentSent = !heard || s.stage == stageDot
		}
		if !heard {
			c.broken = true
			if contentSent {
				stage = stageDot // the outcome is unknown
			}
			return stage, contentSent, err
		}
	}
	if err == nil {
		return stageDot, true, nil
	}
	return stage, contentSent, err
}

// write writes b. It keeps b as a buffer but clears it, since it contains a
// code.
func (c *conn) write(b []byte) error {
	_, err := c.wire.Write(b)
	clear(b)
	c.out = b
	return err
}

// read reads one reply. heard is true if it was a valid reply, expected or not.
func (c *conn) read(want int) (err error, heard bool) {
	in := c.in
	if _, err := in.Peek(1); err != nil {
		return err, false
	}
	buffered, _ := in.Peek(in.Buffered())
	if n := simple(buffered, want); n > 0 {
		in.Discard(n)
		return nil, true
	}
	r, err := readReply(in)
	if err != nil {
		return err, false
	}
	err = r.err(want)
	return err, err == nil || r.code >= 400
}

// simple returns the length of the reply at the beginning of b if it is
// complete, has one line and is the expected one, as most replies are.
// Otherwise it returns 0.
func simple(b []byte, want int) int {
	end := bytes.IndexByte(b, '\n')
	if end < 4 || b[3] != ' ' {
		return 0
	}
	code, err := strconv.Atoi(string(b[:3]))
	if err != nil || code < 100 {
		return 0
	}
	for code > want {
		code /= 10
	}
	if code != want {
		return 0
	}
	return end + 1
}

// lines appends the commands to b.
func lines(b []byte, steps []step) []byte {
	for _, s := range steps {
		for _, part := range s.command {
			b = append(b, part...)
		}
	}
	return b
}

// stuffed appends content and the final dot to b. It doubles each dot at the
// beginning of a line (RFC 5321 section 4.5.2). All lines of content end in
// CRLF.
func stuffed(b, content []byte) []byte {
	b = slices.Grow(b, len(content)+64)
	if bytes.HasPrefix(content, []byte(".")) {
		b = append(b, '.')
	}
	for found := true; found; {
		var before []byte
		before, content, found = bytes.Cut(content, []byte("\n."))
		b = append(b, before...)
		if found {
			b = append(b, "\n.."...)
		}
	}
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		b = append(b, "\r\n"...)
	}
	return append(b, ".\r\n"...)
}
