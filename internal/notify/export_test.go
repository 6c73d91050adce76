package notify

// SetKillable overrides what the kernel was found to do.
func (l *Listener) SetKillable(on bool) { l.killable = on }
