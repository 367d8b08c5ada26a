// Package protocol is all that the host and a plugin share: the handshake, the
// gRPC service (package pluginv1, generated from
// stephost/plugin/v1/plugin.proto) and the limits that both sides keep.
//
// A plugin process goes through these steps:
//
//  1. The host starts it with the magic cookie of [Handshake] in its
//     environment. Without the cookie it explains itself and exits.
//  2. It prints HashiCorp go-plugin's handshake line on stdout, naming
//     protocol version [Version] and a local address.
//  3. It serves PluginService and grpc.health.v1.Health there.
//  4. The host calls Describe, then Configure, once each. A plugin whose
//     steps depend on its configuration describes them only in its answer to
//     Configure, which then replaces the first description: [Configured].
//     After that the host opens any number of Execute streams.
//  5. To drain, the host half-closes its streams. The plugin gives back what
//     has not started, finishes what runs, and ends each stream. Only then is
//     the process stopped.
//
// Nothing here needs go-plugin's broker, so a plugin in another language needs
// one line on stdout and one service.
//
// # Invariants
//
//   - Every step that travels on an Execute stream is answered on that stream
//     by exactly one Result, unless the stream or the process ends first.
//   - A message never exceeds [MaxMessageBytes]; a batch aims at
//     [MaxBatchBytes] and [MaxBatchSteps], and only a single step or result
//     may be larger, alone.
//   - Host and plugin run on one machine and share its clock.
package protocol
