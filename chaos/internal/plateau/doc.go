// Package plateau decides whether a series of measurements has stopped growing.
//
// A process that runs for weeks may rise at first: caches fill, pools open,
// tables get their free space. Then it must stay where it is, whatever happens to
// it. What never stops is a leak, also when it is slow, and also when it hides
// below the saw-tooth of a garbage collector or of autovacuum.
//
// # The rule
//
// [Judge] leaves out the first fifth of the run as warm-up and cuts the rest into
// twelve windows of equal length. A window's level is the median of its
// measurements: neither a peak after a fault nor the dip while a process is
// restarted moves it, nor a saw-tooth that is shorter than the window (measure at
// uneven times: an even step can beat with it). Two things
// are held against a series:
//
//   - It grows: the trend through the levels (the Theil–Sen slope, which is the
//     median of the slopes between all pairs of them, and so is not impressed by
//     single windows) exceeds the tolerance over the judged time, and is no
//     accident (one-sided Mann–Kendall test, one in a hundred).
//   - It rose late: each level of the last third is above each one before, and
//     their medians are further apart than the tolerance. A step that came early
//     enough has had the time to show that nothing followed; a late one has not.
//
// The tolerance is a share of the level at the beginning of the judged time, or an
// absolute amount where that is more: three descriptors more are nothing, although
// they are a third of nine.
//
// # What it promises
//
// A linear leak of more than twice the tolerance is always found where the noise of
// the levels is at most a twenty-fourth of what leaks. Noise whose levels stay
// within a sixth of the tolerance is never accused, whatever its shape. Noise
// without order is accused at most in about one series of eighty, however large it
// is: 1 in 100 by the trend, 1 in 495 by the late rise. What it cannot tell from a
// leak is a rise that would have ended after the run.
//
// There was no kept library to take this from: the general ones for statistics in
// Go have neither test, and both are a few lines.
package plateau
