// Package codec writes and reads the two messages of the Execute stream, which
// carry every step and every outcome, without reflection and with few
// allocations. On the wire it is protobuf like any other, and the other side may
// use any library. It can only tell by the content type, which names the encoding
// (application/grpc+proto) where gRPC leaves it out by default.
//
// # Invariants
//
//   - It never has an opinion of its own. It handles the shapes that hosts and
//     SDKs send; whatever else comes (a field that it does not know, a second
//     outcome, a text that is not UTF-8) goes to the protobuf library, all of it.
//     Of any other field that comes twice the last one counts, as there.
//   - It does not write fields that it does not know: whoever sends a message has
//     made it itself, and does not pass on one that it has read.
//   - What has been decoded owns its bytes: gRPC takes its buffers back.
//   - What is encoded is not copied where it is large: the body of a step and the
//     output of a handler are lent to gRPC until they are written. Nobody changes
//     them, before or after.
//   - Members of a batch share allocations, a few at a time, and point to their
//     bodies. Whoever lets a step go sets its Input to nil: then a neighbour that
//     runs for long holds on to some kilobytes of it, never to a body or the batch.
package codec
