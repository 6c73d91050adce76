package capmode

import "testing"

func TestLastNumber(t *testing.T) {
	for text, want := range map[string]int{
		"Name:\tNStgid:\nNStgid:\t9234\t2\nNSpid:\t9240\t7\n": 2,
		"NStgid:\t9234\n":    9234,
		"NStgid:\t1\t2\t3\n": 3,
		"NStgid:\n":          0,
		"NSpid:\t7\n":        0,
		"NStgid:\t7\tx\n":    0,
		"":                   0,
	} {
		if got, err := lastNumber([]byte(text), "NStgid:"); got != want || (err == nil) != (want != 0) {
			t.Errorf("lastNumber(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}
