// Package netfault is a TCP proxy whose network can be broken: the chaos driver
// puts it between a host and its database.
//
// A broken network does not close connections. What was sent is late, or never
// arrives, and neither side is told. So each direction of the proxy has a Way
// that can be changed at any time:
//
//   - Pass forwards.
//   - Hold keeps what is sent until the way passes again, as TCP does when
//     packets are lost for a while: the sender's bytes arrive late, in order.
//     A settlement that is held is a zombie's, once the lease has ended.
//   - Drop swallows, sockets open: with ToClient dropped the server executes
//     what it is asked and commits, and the client never hears of it.
//
// # Invariants
//
//   - A stream that has lost a byte never carries another one: a connection that
//     was dropped from is reset when its way passes again, as a firewall does
//     that has forgotten it.
//   - The end of a connection travels as its bytes do. While they are held or
//     dropped the other side does not learn of it, and keeps what it holds:
//     locks, slots, transactions.
//   - Close ends every connection and joins every goroutine.
package netfault
