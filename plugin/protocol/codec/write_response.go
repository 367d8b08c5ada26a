package codec

import (
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// response encodes m, unless it has something that is for the library.
func (w *writer) response(m *pluginv1.ExecuteResponse) bool {
	for _, r := range m.GetResults() {
		size, known := resultSize(r)
		if !known {
			return false
		}
		w.size += messageSize(size) - lent(r.GetSuccess().GetOutput())
	}
	for _, beat := range m.GetHeartbeats() {
		w.size += messageSize(proto.Size(beat))
	}
	w.begin()
	for _, r := range m.GetResults() {
		size, _ := resultSize(r)
		w.message(1, size)
		w.result(r)
	}
	for _, beat := range m.GetHeartbeats() {
		if !w.other(2, beat) {
			return false
		}
	}
	return true
}

// resultSize is the size of a success that sends nothing; known is false for
// any other result, which is rare.
func resultSize(r *pluginv1.Result) (size int, known bool) {
	outcome, is := r.GetOutcome().(*pluginv1.Result_Success)
	if !is || outcome.Success == nil || len(outcome.Success.GetEmits()) > 0 {
		return 0, false
	}
	return numberSize(r.GetId()) +
		numberSize(uint64(r.GetDurationUs())) +
		messageSize(bytesSize(len(outcome.Success.GetOutput()))) +
		numberSize(uint64(r.GetStartedAtUs())), true
}

// result writes the members in the order of the library, which has a oneof last.
func (w *writer) result(r *pluginv1.Result) {
	output := r.GetSuccess().GetOutput()
	w.number(1, r.GetId())
	w.number(2, uint64(r.GetDurationUs()))
	w.number(7, uint64(r.GetStartedAtUs()))
	w.message(3, bytesSize(len(output)))
	w.body(1, output)
}
