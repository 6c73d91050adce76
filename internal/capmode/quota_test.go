package capmode

import "testing"

// TestWithin: however many take as much as they may, somebody else finds some left.
func TestWithin(t *testing.T) {
	for greedy := 1; greedy < 100; greedy++ {
		mine, all := make([]int32, greedy), int32(0)
		for took := true; took; {
			took = false
			for i := range mine {
				if within(mine[i]+1, all+1, workers) {
					mine[i]++
					all++
					took = true
				}
			}
		}
		if !within(1, all+1, workers) {
			t.Errorf("%d processes have %d, and nobody else gets any", greedy, all)
		}
		if all < workers/3 {
			t.Errorf("%d processes get no more than %d", greedy, all)
		}
	}
}
