// Package pluginconfig reads a plugin's config block in the user's file. The
// plugin describes a schema; [Written.Decode] checks the block against it and
// gives the value that the plugin is configured with, and [Written.Locate]
// points the plugin's own complaints at the line that they are about.
//
// The host and the test harness for plugin authors read blocks with this same
// code, so what a plugin's test accepts is what a host accepts.
package pluginconfig
