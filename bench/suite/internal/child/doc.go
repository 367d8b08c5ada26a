// Package child runs contenders in processes of their own, so that what they use
// of the machine can be told apart.
//
// The suite starts itself again: `bench-suite child NAME CONFIG`, with the
// configuration as JSON. The child writes "ready", and then answers each line
// that it reads, a request in JSON, with one line in JSON. It ends when its
// input does, however the suite ended.
package child
