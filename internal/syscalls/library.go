package syscalls

// This file joins the table's two columns, for a program that the command started
// and that may confine itself. The kernel lets a task have one filter that asks, so
// there is one for both, which never lets through what either would not.

// requests reports whether there is somebody to make requests of.
func (o Options) requests() bool { return o.Mode == Attached || o.Library }

// both returns rules that decide as the stricter of own and run does for each call.
// Of pairs of rules in this order the first that holds is of the first that holds in
// each.
func both(own, run []Rule) []Rule {
	out := make([]Rule, 0, len(own)*len(run))
	for i := range own {
		for j := range run {
			out = append(out, stricter(&own[i], &run[j]))
		}
	}
	return out
}

// stricter returns a rule for calls to which both a rule of a process that confines
// itself and one of a wrapped program apply. Where both refuse, the errno is
// Capsicum's. The kernel may go on after a look where both let it.
func stricter(own, run *Rule) Rule {
	r := Rule{When: always, Args: make([]ArgTest, 0, len(own.Args)+len(run.Args)), Do: own.Do, Reason: own.Reason}
	r.Args = append(append(r.Args, own.Args...), run.Args...)
	if run.Do.rank() > own.Do.rank() {
		r.Do, r.Reason = run.Do, run.Reason
	}
	if r.Do == Ask && own.goesOn() && run.goesOn() {
		r.Continue = own.Continue
		if r.Continue == "" {
			r.Continue = run.Continue
		}
	}
	return r
}

// goesOn reports whether the kernel may carry the call out.
func (r *Rule) goesOn() bool { return r.Do == Pass || r.Continue != "" }

// rank orders verdicts as the kernel does those of several filters.
func (v Verdict) rank() int {
	switch v {
	case Pass:
		return 0
	case Ask:
		return 1
	}
	return 2
}
