// Package admin is the host's HTTP endpoint for health, metrics, status and
// control, and the client that the command line talks to it with.
//
//	GET  /health                      summary: 200, or 503 when the host is Critical
//	GET  /health/live                 200 while every loop progresses; else 503 names the stuck ones
//	GET  /health/ready                200 when steps can be worked, in Hybrid by polling alone too; else 503 says why not
//	GET  /status                      Status
//	GET  /namespaces                  []Namespace
//	POST /namespaces/{name}/pause     stop claiming; answers with the Namespace
//	POST /namespaces/{name}/resume    undo it; answers with the Namespace
//	GET  /plugins                     []Plugin
//	GET  /mode                        ModeState
//	PUT  /mode                        switch to {"mode": "PollingOnly"}; answers with the ModeState
//	POST /reload                      read the configuration file again; answers with the Reload
//	GET  /metrics                     Prometheus text
//
// Bodies are JSON, and so are errors: {"error": "what happened"}, with
// "diagnostics" about a configuration file that is not valid (422). Durations
// are numbers of seconds, in fields that end in _seconds; times are RFC 3339.
//
// # Invariants
//
//   - Beyond loopback there is no server without a token, and with a token
//     nothing but /health answers without it.
//   - A slow or hostile client costs a bounded amount: headers, bodies, time and
//     concurrent scrapes have limits.
//   - What is reported comes from the Controller; this package makes nothing up.
package admin
