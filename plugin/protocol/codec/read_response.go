package codec

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// readResponse decodes data, unless it has something that is for the library.
func readResponse(data []byte, into *pluginv1.ExecuteResponse) bool {
	results, ok := count(data, 1)
	if !ok {
		return false
	}
	r := responseReader{arena: arena{left: len(data)}, slab: slab[success]{left: results}}
	r.response.Results = make([]*pluginv1.Result, 0, results)
	for f := (fields{data}); len(f.rest) > 0; {
		got, _ := f.next()
		switch {
		case got.message(1):
			ok = r.result(got.bytes)
		case got.message(2):
			ok = r.heartbeat(got.bytes)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	into.Reset()
	into.Results, into.Heartbeats = r.response.GetResults(), r.response.GetHeartbeats()
	return true
}

// success is a result with the outcome that nearly all have.
type success struct {
	result  pluginv1.Result
	outcome pluginv1.Result_Success
	success pluginv1.Success
}

type responseReader struct {
	arena    arena
	slab     slab[success]
	response pluginv1.ExecuteResponse
}

func (r *responseReader) heartbeat(data []byte) bool {
	beat := &pluginv1.Heartbeat{}
	if proto.Unmarshal(data, beat) != nil {
		return false
	}
	r.response.Heartbeats = append(r.response.Heartbeats, beat)
	return true
}

func (r *responseReader) result(data []byte) bool {
	s := r.slab.next()
	for f := (fields{data}); len(f.rest) > 0; {
		got, ok := f.next()
		if !ok {
			return false
		}
		if got.kind == protowire.BytesType {
			ok = s.result.GetOutcome() == nil && r.outcome(s, got)
		} else {
			ok = resultNumber(&s.result, got)
		}
		if !ok {
			return false
		}
	}
	r.response.Results = append(r.response.Results, &s.result)
	return true
}

func resultNumber(result *pluginv1.Result, got field) bool {
	switch got.number {
	case 1:
		result.Id = got.varint
	case 2:
		result.DurationUs = int64(got.varint)
	case 7:
		result.StartedAtUs = int64(got.varint)
	default:
		return false
	}
	return true
}

// outcome decodes the one outcome. Failures are rare enough for the library.
func (r *responseReader) outcome(s *success, got field) bool {
	var m proto.Message
	switch got.number {
	case 3:
		s.outcome.Success, s.result.Outcome = &s.success, &s.outcome
		return r.success(&s.success, got.bytes)
	case 4:
		failure := &pluginv1.Failure{}
		s.result.Outcome, m = &pluginv1.Result_Failure{Failure: failure}, failure
	case 5:
		snooze := &pluginv1.Snooze{}
		s.result.Outcome, m = &pluginv1.Result_Snooze{Snooze: snooze}, snooze
	case 6:
		notAccepted := &pluginv1.NotAccepted{}
		s.result.Outcome, m = &pluginv1.Result_NotAccepted{NotAccepted: notAccepted}, notAccepted
	default:
		return false
	}
	return proto.Unmarshal(got.bytes, m) == nil
}

func (r *responseReader) success(into *pluginv1.Success, data []byte) bool {
	for f := (fields{data}); len(f.rest) > 0; {
		got, ok := f.next()
		switch {
		case !ok:
			return false
		case got.message(1):
			into.Output = r.arena.bytes(got.bytes)
		case got.message(2):
			emit := &pluginv1.Emit{}
			if proto.Unmarshal(got.bytes, emit) != nil {
				return false
			}
			into.Emits = append(into.Emits, emit)
		default:
			return false
		}
	}
	return true
}
