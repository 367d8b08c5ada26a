package sdktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
	"github.com/stephost/stephost/plugin/sdk"
)

// defaultTimeout is that of a namespace.
const defaultTimeout = 20 * time.Second

// fields are the members of a message that a host looks at.
type fields struct {
	Step          string `json:"step"`
	TaskUUID      string `json:"task_uuid"`
	StepUUID      string `json:"step_uuid"`
	CorrelationID string `json:"correlation_id"`
}

// encode turns what a test calls a message into what a queue holds. A host
// dead-letters what is not an object before any handler sees it.
func encode(message any) ([]byte, fields, error) {
	var body []byte
	switch m := message.(type) {
	case []byte:
		body = m
	case json.RawMessage:
		body = m
	case string:
		body = []byte(m)
	default:
		var err error
		if body, err = json.Marshal(message); err != nil {
			return nil, fields{}, fmt.Errorf("encode the message: %w", err)
		}
	}
	if !json.Valid(body) {
		return nil, fields{}, fmt.Errorf("the message is not JSON: %s", body)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return nil, fields{}, errors.New("the message is not a JSON object: a host dead-letters it without calling a handler")
	}
	return body, readFields(body), nil
}

// readFields ignores members that are not strings, as a host does.
func readFields(body []byte) fields {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members)
	text := func(name string) (s string) {
		_ = json.Unmarshal(members[name], &s)
		return s
	}
	return fields{
		Step: text("step"), TaskUUID: text("task_uuid"), StepUUID: text("step_uuid"), CorrelationID: text("correlation_id"),
	}
}

// deliver makes the step that a host would send for a message.
func (h *Host) deliver(step string, message any, opts []StepOption) *pluginv1.Step {
	h.t.Helper()
	body, found, err := encode(message)
	if err != nil {
		h.t.Fatalf("step %q: %v", step, err)
	}
	if step == "" {
		step = found.Step
	}
	d := delivery{timeout: defaultTimeout}
	for _, opt := range opts {
		opt(&d)
	}
	id := h.nextID()
	info := withDefaults(d.info, id, found)
	return &pluginv1.Step{
		Id: uint64(id), Namespace: info.Namespace, Step: h.resolve(step), Input: body,
		Queue: info.Queue, MessageId: info.MessageID, Attempt: uint32(info.Attempt),
		TimeoutMs:      int64((d.timeout + time.Millisecond - 1) / time.Millisecond),
		EnqueuedAtUs:   info.EnqueuedAt.UnixMicro(),
		IdempotencyKey: info.IdempotencyKey,
		TaskUuid:       info.TaskUUID, StepUuid: info.StepUUID, CorrelationId: info.CorrelationID,
	}
}

func (h *Host) nextID() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastID++
	return h.lastID
}

// withDefaults fills in what the test has not said.
func withDefaults(info sdk.Info, id int64, found fields) sdk.Info {
	orText := func(p *string, fallback string) {
		if *p == "" {
			*p = fallback
		}
	}
	orText(&info.Namespace, "test")
	orText(&info.Queue, info.Namespace+"_queue")
	if info.MessageID == 0 {
		info.MessageID = id
	}
	if info.Attempt == 0 {
		info.Attempt = 1
	}
	if info.EnqueuedAt.IsZero() {
		info.EnqueuedAt = time.Now()
	}
	orText(&info.IdempotencyKey, info.Queue+"/"+strconv.FormatInt(info.MessageID, 10)+"/"+strconv.FormatInt(info.EnqueuedAt.UnixMicro(), 10))
	orText(&info.TaskUUID, found.TaskUUID)
	orText(&info.StepUUID, found.StepUUID)
	orText(&info.CorrelationID, found.CorrelationID)
	return info
}
