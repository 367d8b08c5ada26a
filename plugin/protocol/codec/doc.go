// Package codec writes and reads the two messages of the Execute stream, which
// carry every step and every outcome, without reflection and with few
// allocations. On the wire it is protobuf like any other: the other side cannot
// tell, and may use any library.
//
// # Invariants
//
//   - It never has an opinion of its own. It handles the shapes that hosts and
//     SDKs send; whatever else comes (a field that it does not know, a field
//     twice, a text that is not UTF-8) goes to the protobuf library, all of it.
//   - What has been decoded owns its bytes: gRPC takes its buffers back.
//   - What is encoded is not copied where it is large: the body of a step and the
//     output of a handler are lent to gRPC until they are written. Nobody changes
//     them, before or after.
//   - Members of a batch share allocations, a few at a time: a step that runs for
//     long holds on to some kilobytes of its neighbours, never to the batch.
package codec
