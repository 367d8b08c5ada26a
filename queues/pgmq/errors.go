package pgmq

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stephost/stephost/queues"
)

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// fault is what an error says about the statement that met it.
type fault int

const (
	// faultUnknown: whether the statement was committed is not known, or it
	// could not be tried; the members have nothing to do with it.
	faultUnknown fault = iota
	// faultTransient: rolled back, and worth an immediate repetition.
	faultTransient
	// faultStale: rolled back, since a table is not what it was.
	faultStale
	// faultRefused: rolled back, for something in the data.
	faultRefused
	// faultConfig: rolled back, for something that an operator can mend, maybe
	// about one target only.
	faultConfig
)

func classify(err error) fault {
	code := sqlState(err)
	if len(code) != 5 {
		return faultUnknown
	}
	switch code {
	case "40001", "40P01", "55P03":
		return faultTransient
	}
	if isStaleLayout(err) {
		return faultStale
	}
	if code == "23502" && foreignColumn(err) {
		return faultConfig
	}
	switch code[:2] {
	case "22", "23", "2F", "38", "39", "44", "54", "P0":
		return faultRefused
	case "0A", "3F", "42":
		return faultConfig
	}
	return faultUnknown
}

// foreignColumn tells whether the column that an error is about is none of
// pgmq's that a message fills.
func foreignColumn(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ColumnName != "" && pg.ColumnName != "message" && pg.ColumnName != "headers"
}

// explain adds what to do about it to errors that an operator can mend.
func (b *Broker) explain(err error) error {
	var failed *pgconn.ConnectError
	var server *ServerError
	if errors.As(err, &failed) || errors.As(err, &server) {
		return connectError(b.work.Config().ConnConfig, err)
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case "42501":
		return b.denied(err, pg)
	case "25006":
		return fmt.Errorf("%w (%w)", errReadOnly, err)
	case "23502":
		if foreignColumn(err) {
			return fmt.Errorf("%w: give column %s a default, stephost fills those of pgmq alone", err, quoteName(pg.ColumnName))
		}
	case "42703", "42804":
		return notPGMQs(err)
	case "26000", "42P05":
		return fmt.Errorf("%w: a pooler between here and the server loses prepared statements; add default_query_exec_mode=exec to the DSN", err)
	case "3F000":
		if strings.Contains(pg.Message, "pgmq") {
			return fmt.Errorf("%w (%w)", errNoPGMQ, err)
		}
	case "42883":
		if strings.Contains(pg.Message, "pgmq.") {
			return fmt.Errorf("%w (%w)", errNoPGMQ, err)
		}
		return notPGMQs(err)
	}
	return err
}

// notPGMQs is for statements that do not fit a queue's tables, although these
// have been looked at again.
func notPGMQs(err error) error {
	return fmt.Errorf("%w: the queue's tables are not as pgmq makes them: put the columns back, with their types", err)
}

// refusedError is a refusal in words for the person who has to mend what was
// sent.
type refusedError struct {
	text string
	err  *pgconn.PgError
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.err }

// refusal is for what a step ends with.
func refusal(err error) error { return refusalOf("what the handler returns and emits", err) }

// refusalOf names what was refused.
func refusalOf(what string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	text := pg.Message
	if pg.Detail != "" {
		text += ": " + strings.TrimSuffix(pg.Detail, ".")
	}
	const limit = 512
	text = fmt.Sprintf("%s (SQLSTATE %s)", queues.Text(text, limit), pg.Code)
	switch pg.Code {
	case "22P05", "22021":
		text += "; PostgreSQL stores no NUL characters and nothing but UTF-8: take them out of " + what
	case "22P02":
		text += "; " + what + " must be JSON that PostgreSQL reads"
	case "22003":
		text += "; a number in " + what + " is out of PostgreSQL's range: send it as a string"
	case "54001":
		text += "; " + what + " is nested too deeply"
	}
	return &refusedError{text: text, err: pg}
}
