// Package many measures what many namespaces cost, what they do to each other and
// how much memory a host needs: hundreds of idle namespaces beside a single one, a
// namespace of slow handlers beside a fast one, millions of queued messages with a
// thousand in flight.
//
// All handlers are those of one plugin (see PluginMain): one marks the time, one
// sleeps for as long as its message says.
package many
