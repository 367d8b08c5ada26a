// Package vitals measures, from outside, what a running world uses: the memory,
// descriptors, threads and goroutines of its hosts and plugins, how many processes
// there are, what lies in their directory for temporary files, and what their
// database holds.
//
// A [Recorder] asks its sources again and again and keeps every number as a point
// of a [Series]. What cannot be measured at the moment, such as a database that is
// being restarted, leaves a gap: the faults of a soak make many.
//
// A series is judged by its measure's tolerance, unless it belongs to a process
// that is killed on purpose: its memory tells how long ago that was. Such series
// are kept for whoever reads the numbers.
package vitals
