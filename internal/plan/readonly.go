package plan

import "github.com/capsicum-go/capsicum/rights"

// modifying are the rights without which nothing beneath an entry can change.
var modifying = []rights.Right{
	rights.Write, rights.Create, rights.Ftruncate, rights.Unlinkat, rights.Mkdirat, rights.Mkfifoat,
	rights.Mknodat, rights.Symlinkat, rights.RenameatSource, rights.RenameatTarget, rights.LinkatTarget,
	rights.Fchmod, rights.Fchown, rights.Futimes, rights.Fchflags, rights.ExtattrSet, rights.ExtattrDelete,
	rights.Bindat,
}

// ReadOnly reports whether set allows no change at all, so that each attempt
// is EROFS, as on a read-only mount.
func ReadOnly(set rights.Set) bool {
	for _, r := range modifying {
		if set.IsSet(r) {
			return false
		}
	}
	return true
}
