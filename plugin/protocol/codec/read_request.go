package codec

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/stephost/stephost/plugin/protocol/stephost/plugin/v1"
)

// readRequest decodes data, unless it has something that is for the library.
func readRequest(data []byte, into *pluginv1.ExecuteRequest) bool {
	steps, ok := count(data, 1)
	if !ok {
		return false
	}
	r := requestReader{arena: arena{left: len(data)}, slab: slab[pluginv1.Step]{left: steps}}
	r.request.Steps = make([]*pluginv1.Step, 0, steps)
	for f := (fields{data}); len(f.rest) > 0; {
		got, _ := f.next()
		switch {
		case got.message(1):
			ok = r.step(got.bytes)
		case got.message(2):
			ok = r.cancellation(got.bytes)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	into.Reset()
	into.Steps, into.Cancellations = r.request.GetSteps(), r.request.GetCancellations()
	return true
}

type requestReader struct {
	arena   arena
	slab    slab[pluginv1.Step]
	request pluginv1.ExecuteRequest
	before  pluginv1.Step // whose texts the next one may share
}

func (r *requestReader) cancellation(data []byte) bool {
	c := &pluginv1.Cancellation{}
	if proto.Unmarshal(data, c) != nil {
		return false
	}
	r.request.Cancellations = append(r.request.Cancellations, c)
	return true
}

func (r *requestReader) step(data []byte) bool {
	s := r.slab.next()
	for f := (fields{data}); len(f.rest) > 0; {
		got, ok := f.next()
		if !ok {
			return false
		}
		if got.kind == protowire.VarintType {
			ok = number(s, got)
		} else {
			ok = r.text(s, got)
		}
		if !ok {
			return false
		}
	}
	r.request.Steps = append(r.request.Steps, s)
	return true
}

func number(s *pluginv1.Step, got field) bool {
	switch got.number {
	case 1:
		s.Id = got.varint
	case 6:
		s.MessageId = int64(got.varint)
	case 7:
		s.Attempt = uint32(got.varint)
	case 8:
		s.TimeoutMs = int64(got.varint)
	case 9:
		s.EnqueuedAtUs = int64(got.varint)
	default:
		return false
	}
	return true
}

func (r *requestReader) text(s *pluginv1.Step, got field) bool {
	if got.number == 4 {
		s.Input = r.arena.bytes(got.bytes)
		return true
	}
	into, before := stepText(s, got.number), stepText(&r.before, got.number)
	if into == nil {
		return false
	}
	text, ok := r.arena.text(got.bytes, *before)
	*into, *before = text, text
	return ok
}

// stepText is the text field of that number, or nil.
func stepText(s *pluginv1.Step, number protowire.Number) *string {
	switch number {
	case 2:
		return &s.Namespace
	case 3:
		return &s.Step
	case 5:
		return &s.Queue
	case 10:
		return &s.IdempotencyKey
	case 11:
		return &s.TaskUuid
	case 12:
		return &s.StepUuid
	case 13:
		return &s.CorrelationId
	default:
		return nil
	}
}
