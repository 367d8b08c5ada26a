package janitor

import "time"

// A chunk is to take about chunkTime: long enough to be worth a commit, short
// enough that nobody notices it.
const (
	chunkTime  = 100 * time.Millisecond
	chunkFirst = 200
	chunkLeast = 10
	chunkMost  = 2000
)

// chunk is how many rows are deleted in a transaction.
type chunk struct{ rows int }

func (c chunk) smaller() chunk { return chunk{max(chunkLeast, c.rows/2)} }

// after is the size of the next chunk when one has taken that long.
func (c chunk) after(took time.Duration) chunk {
	switch {
	case took > 2*chunkTime:
		return c.smaller()
	case took < chunkTime/2:
		return chunk{min(chunkMost, c.rows*2)}
	}
	return c
}

// The pause leaves the disk and the server to others for twice the time that a
// chunk took.
const (
	pauseLeast = 20 * time.Millisecond
	pauseMost  = 5 * time.Second
)

func pause(took time.Duration) time.Duration { return min(max(pauseLeast, 2*took), pauseMost) }
