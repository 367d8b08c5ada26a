package codec

import (
	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// request encodes m, unless it has something that is for the library.
func (w *writer) request(m *pluginv1.ExecuteRequest) bool {
	if len(m.GetCancellations()) > 0 {
		return false // rare
	}
	before := &pluginv1.Step{}
	for _, s := range m.GetSteps() {
		if s == nil || !sendable(s, before) {
			return false
		}
		w.size += messageSize(stepSize(s)) - lent(s.GetInput())
		before = s
	}
	w.begin()
	for _, s := range m.GetSteps() {
		w.message(1, stepSize(s))
		w.step(s)
	}
	return true
}

// sendable tells whether all texts are UTF-8.
func sendable(s, before *pluginv1.Step) bool {
	return isText(s.GetNamespace(), before.GetNamespace()) &&
		isText(s.GetStep(), before.GetStep()) &&
		isText(s.GetQueue(), before.GetQueue()) &&
		isText(s.GetIdempotencyKey(), before.GetIdempotencyKey()) &&
		isText(s.GetTaskUuid(), before.GetTaskUuid()) &&
		isText(s.GetStepUuid(), before.GetStepUuid()) &&
		isText(s.GetCorrelationId(), before.GetCorrelationId())
}

func stepSize(s *pluginv1.Step) int {
	return numberSize(s.GetId()) +
		bytesSize(len(s.GetNamespace())) +
		bytesSize(len(s.GetStep())) +
		bytesSize(len(s.GetInput())) +
		bytesSize(len(s.GetQueue())) +
		numberSize(uint64(s.GetMessageId())) +
		numberSize(uint64(s.GetAttempt())) +
		numberSize(uint64(s.GetTimeoutMs())) +
		numberSize(uint64(s.GetEnqueuedAtUs())) +
		bytesSize(len(s.GetIdempotencyKey())) +
		bytesSize(len(s.GetTaskUuid())) +
		bytesSize(len(s.GetStepUuid())) +
		bytesSize(len(s.GetCorrelationId()))
}

func (w *writer) step(s *pluginv1.Step) {
	w.number(1, s.GetId())
	w.text(2, s.GetNamespace())
	w.text(3, s.GetStep())
	w.body(4, s.GetInput())
	w.text(5, s.GetQueue())
	w.number(6, uint64(s.GetMessageId()))
	w.number(7, uint64(s.GetAttempt()))
	w.number(8, uint64(s.GetTimeoutMs()))
	w.number(9, uint64(s.GetEnqueuedAtUs()))
	w.text(10, s.GetIdempotencyKey())
	w.text(11, s.GetTaskUuid())
	w.text(12, s.GetStepUuid())
	w.text(13, s.GetCorrelationId())
}
