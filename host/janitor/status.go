package janitor

import "time"

// Status is what the janitor has done since its start.
type Status struct {
	// Running means that it deletes, or looks what there is to delete.
	Running bool
	// Runs are those that have ended, LastRunAt is when the last one did.
	Runs      uint64
	LastRunAt time.Time
	Rules     []RuleStatus
}

// RuleStatus is what has come of a rule.
type RuleStatus struct {
	Rule
	Deleted uint64 // rows
	Errors  uint64
	// LastError is why its last pass did not end; empty when it has.
	LastError string
}

type ruleStats struct {
	deleted, errors uint64
	lastError       string
	chunk           chunk
}

// Status returns a snapshot.
func (j *Janitor) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	status := j.runs
	for _, r := range j.rules {
		s := j.stats[ruleKey{r.Kind, r.Queue}]
		status.Rules = append(status.Rules, RuleStatus{Rule: r, Deleted: s.deleted, Errors: s.errors, LastError: s.lastError})
	}
	return status
}

func (j *Janitor) started() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.runs.Running = true
}

func (j *Janitor) ended() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.runs.Running = false
	j.runs.Runs++
	j.runs.LastRunAt = time.Now()
}

// about changes what is known of a rule, unless it is gone meanwhile.
func (j *Janitor) about(r Rule, change func(*ruleStats)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.stats[ruleKey{r.Kind, r.Queue}]; s != nil {
		change(s)
	}
}

func (j *Janitor) deleted(r Rule, n int64) {
	j.about(r, func(s *ruleStats) { s.deleted += uint64(n) }) //nolint:gosec // never negative
}

func (j *Janitor) passed(p *pass) {
	j.about(p.rule, func(s *ruleStats) { s.lastError = "" })
	if p.deleted > 0 {
		j.log.Info("old messages deleted", "kind", p.rule.Kind, "queue", p.rule.Queue, "rows", p.deleted)
	}
}

// failed tells the log once, until it is another error or the rule has worked.
func (j *Janitor) failed(r Rule, err error) {
	again := false
	j.about(r, func(s *ruleStats) {
		s.errors++
		again = s.lastError == err.Error()
		s.lastError = err.Error()
	})
	if !again {
		j.log.Warn("old messages not deleted", "kind", r.Kind, "queue", r.Queue, "error", err)
	}
}

func (j *Janitor) chunk(r Rule) chunk {
	size := chunk{chunkFirst}
	j.about(r, func(s *ruleStats) {
		if s.chunk.rows > 0 {
			size = s.chunk
		}
	})
	return size
}

func (j *Janitor) resize(r Rule, size chunk) { j.about(r, func(s *ruleStats) { s.chunk = size }) }
