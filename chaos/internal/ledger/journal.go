package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

// Outcome is how an execution ended, as its handler saw it.
type Outcome string

// The outcomes. An execution that was killed has none.
const (
	Succeeded Outcome = "ok"
	Failed    Outcome = "fail"
	Panicked  Outcome = "panic"
	Exited    Outcome = "exit"
	// Cancelled is a handler that stopped because it was told to, Outlasted one
	// that was told and went on.
	Cancelled Outcome = "cancelled"
	Outlasted Outcome = "outlasted"
)

// Line is one line of the journal. Outcome is empty when the execution begins.
type Line struct {
	ID int64 `json:"id"`
	// Execution is unique: the process, its start and a counter.
	Execution string    `json:"execution"`
	Attempt   int       `json:"attempt"`
	PID       int       `json:"pid"`
	At        time.Time `json:"at"`
	Outcome   Outcome   `json:"outcome,omitempty"`
}

// Journal appends to the file that all handlers of a run share. It is safe for
// concurrent use, also by several processes: each line is one write to a file
// that was opened for appending.
type Journal struct{ file *os.File }

// OpenJournal opens the file and makes it if needed.
func OpenJournal(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	return &Journal{file: file}, nil
}

// Write appends a line.
func (j *Journal) Write(line Line) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(text, '\n'))
	return err
}

// Executions counts the lines that begin an execution of the message so far.
func Executions(path string, id int64) (int, error) {
	n := 0
	err := read(path, func(line Line) {
		if line.ID == id && line.Outcome == "" {
			n++
		}
	})
	return n, err
}

// Import puts the journal into chaos.execution.
func Import(ctx context.Context, conn *pgx.Conn, path string) error {
	type row struct {
		Line
		ended   *time.Time
		outcome *string
	}
	var order []string
	rows := make(map[string]*row)
	err := read(path, func(line Line) {
		if line.Outcome == "" {
			rows[line.Execution] = &row{Line: line}
			order = append(order, line.Execution)
			return
		}
		if begun := rows[line.Execution]; begun != nil {
			outcome := string(line.Outcome)
			begun.ended, begun.outcome = &line.At, &outcome
		}
	})
	if err != nil {
		return err
	}
	columns := []string{"id", "execution", "attempt", "pid", "started_at", "ended_at", "outcome"}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"chaos", "execution"}, columns, pgx.CopyFromSlice(len(order), func(i int) ([]any, error) {
		r := rows[order[i]]
		return []any{r.ID, r.Execution, r.Attempt, r.PID, r.At, r.ended, r.outcome}, nil
	}))
	if err != nil {
		return fmt.Errorf("import the journal: %w", err)
	}
	return nil
}

// read calls each for every line. A journal that nothing was written to is not
// there.
func read(path string, each func(Line)) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	defer file.Close()
	for reader := bufio.NewReader(file); ; {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("read the journal: %w in %q", err, text)
		}
		each(line)
	}
}
