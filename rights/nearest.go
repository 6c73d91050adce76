package rights

import (
	"math"
	"strings"
)

// maxName is longer than any name and bounds the work done for a wrong one.
const maxName = 40

// nearest returns the name most like a wrong one: the first that it is a part
// of ("rename", "mkdir"), or else the one fewest edits away.
func nearest(wrong string) string {
	word := strings.ToLower(wrong[:min(len(wrong), maxName)])
	word = strings.TrimPrefix(strings.ReplaceAll(word, "-", "_"), "cap_")
	best, fewest := "", math.MaxInt
	for _, r := range table {
		if len(word) > 2 && strings.Contains(r.name, word) {
			return r.name
		}
		if n := edits(word, r.name); n < fewest {
			best, fewest = r.name, n
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of neighbours
// that turn a into b.
func edits(a, b string) int {
	var before []int // the row above the row above
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
