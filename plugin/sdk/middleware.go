package sdk

import "context"

// Next runs the rest of a step: the inner middleware and then the handler. in
// is the message as JSON, the result is JSON too.
type Next func(ctx context.Context, in []byte) ([]byte, error)

// Use puts middleware around every handler of the plugin, whatever the order
// of the options. The first one given is the outermost. Middleware runs within
// the step: it sees the step's context and deadline, its error is the step's
// error, and its panic fails the step. It is wrapped around each handler once,
// when the plugin is made, so it may keep state per handler there.
func Use(middleware ...func(Next) Next) Option {
	return func(p *Plugin) { p.middleware = append(p.middleware, middleware...) }
}
