package pgmq

import (
	"encoding/json"

	"github.com/stephost/stephost/queues"
)

const maxDeadText = 8 << 10

// maxCount bounds what is believed of a count, far from where one more would
// overflow.
const maxCount = 1 << 30

// decodeRecord never fails: a claim has leased the message already, and the
// headers are anyone's to write. What cannot be read counts as absent, and what
// no host can have written counts as the nearest that one can.
func decodeRecord(text []byte) queues.Record {
	if len(text) == 0 {
		return queues.Record{}
	}
	var r queues.Record
	if err := json.Unmarshal(text, &r); err != nil || r.Version > queues.RecordVersion {
		return queues.Record{}
	}
	for _, count := range []*int{&r.Failures, &r.Crashes, &r.Suspicion, &r.Replays} {
		*count = min(max(0, *count), maxCount)
	}
	r.Accounted = max(0, r.Accounted)
	return r
}

// claimedRecord is the record of a message that was claimed with the epoch. No
// more deliveries can be accounted for than were made before this one.
func claimedRecord(text []byte, epoch queues.Epoch) queues.Record {
	r := decodeRecord(text)
	r.Accounted = min(r.Accounted, max(0, epoch-1))
	return r
}

// encodeRecord makes JSON that PostgreSQL accepts: bookkeeping must never be
// the reason why a message cannot be given back.
func encodeRecord(r queues.Record) (string, error) {
	r.Version = queues.RecordVersion
	if len(r.Errors) > 0 {
		entries := make([]queues.ErrorEntry, len(r.Errors))
		for i, e := range r.Errors {
			e.Type, e.Message, e.Stack = queues.Text(e.Type, maxDeadText), queues.Text(e.Message, maxDeadText), queues.Text(e.Stack, maxDeadText)
			entries[i] = e
		}
		r.Errors = entries
	}
	if r.Dead != nil {
		d := *r.Dead
		for _, text := range []*string{&d.Error, &d.Namespace, &d.Plugin, &d.Step} {
			*text = queues.Text(*text, maxDeadText)
		}
		d.Reason = queues.DeadReason(queues.Text(string(d.Reason), maxDeadText))
		r.Dead = &d
	}
	if r.Origin != nil {
		o := *r.Origin
		o.Queue = queues.Text(o.Queue, maxDeadText)
		r.Origin = &o
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// recordKey is where bookkeeping travels in a message's headers.
const recordKey = "stephost"

// withRecord is an SQL expression: headers with the bookkeeping of record in
// them. Headers that are no object are kept inside the record.
func withRecord(headers, record string) string {
	return `CASE WHEN jsonb_typeof(` + headers + `) = 'object' THEN ` + headers + ` || jsonb_build_object('` + recordKey + `', ` + record + `)
	             WHEN ` + headers + ` IS NULL THEN jsonb_build_object('` + recordKey + `', ` + record + `)
	             ELSE jsonb_build_object('` + recordKey + `', ` + record + ` || jsonb_build_object('headers', ` + headers + `)) END`
}
