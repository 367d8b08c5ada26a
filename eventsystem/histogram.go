package eventsystem

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is a quarter of a power of
// two of microseconds, so a percentile is at most a quarter too high.
type histogram struct {
	buckets [histogramSize]uint32
	count   uint64
	sum     time.Duration
}

// histogramSize covers 2^36 µs, about 19 hours; longer ones count as that.
const histogramSize = 4 * 36

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.sum += d
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.count += other.count
	h.sum += other.sum
}

func (h *histogram) average() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// percentile returns the upper bound of the bucket that holds the p-quantile.
func (h *histogram) percentile(p float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(p * float64(h.count-1))
	var seen uint64
	for i, n := range h.buckets {
		if seen += uint64(n); seen > rank {
			return boundOf(i)
		}
	}
	return boundOf(histogramSize - 1)
}

// bucketOf maps 0..3 µs to buckets of their own and everything above to the
// exponent and the two bits below the leading one.
func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	exponent := bits.Len64(us) - 3
	return min(4*exponent+int(us>>exponent), histogramSize-1)
}

// boundOf is the least duration above the bucket.
func boundOf(bucket int) time.Duration {
	if bucket < 4 {
		return time.Duration(bucket+1) * time.Microsecond
	}
	exponent := bucket/4 - 1
	return time.Duration((bucket%4+5)<<exponent) * time.Microsecond
}
