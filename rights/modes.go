package rights

import "io/fs"

// OpenMode is what the flags of an openat call ask for, independent of the
// numbers an operating system gives them.
type OpenMode struct {
	Read, Write bool // the access mode: O_RDONLY, O_WRONLY, or both for O_RDWR
	Append      bool // O_APPEND
	Truncate    bool // O_TRUNC
	Create      bool // O_CREAT
	Exec        bool // O_EXEC or O_SEARCH; the access mode does not count then
	Sync        bool // O_SYNC or O_DSYNC
	Lock        bool // O_SHLOCK or O_EXLOCK
	Path        bool // O_PATH; the access mode does not count then
	Tmpfile     bool // O_TMPFILE
}

// ForOpen returns what an open asks of the directory. The file that is opened
// gets the directory's rights and no others, so what the program means to do
// with it afterwards needs its rights on the directory as well.
func ForOpen(m OpenMode) Set {
	opaque := m.Exec || m.Path
	writes := m.Write && !opaque
	return choose(
		when{true, Lookup},
		when{m.Read && !opaque, Read},
		when{writes, Write},
		when{writes && !m.Append && !m.Truncate, Seek},
		when{m.Exec, Fexecve},
		when{m.Path && !m.Exec, Read},
		when{m.Create || m.Tmpfile, Create},
		when{m.Truncate, Ftruncate},
		when{m.Sync, Fsync},
		when{m.Lock, Flock},
	)
}

// when is a right and whether it is asked for.
type when struct {
	yes   bool
	right Right
}

func choose(list ...when) Set {
	var s Set
	for _, w := range list {
		if w.yes {
			s.Set(w.right)
		}
	}
	return s
}

// ForMmap returns what a mapping of a descriptor asks of it. Writing to a
// private mapping changes no file and asks for nothing more.
func ForMmap(read, write, exec, shared bool) Set {
	return choose(
		when{true, Mmap},
		when{read, MmapR},
		when{write && shared, MmapW},
		when{exec, MmapX},
	)
}

// RenameMode is what a renameat2 call asks for. Its zero value is renameat when
// it is not known whether the new name exists.
type RenameMode struct {
	TargetAbsent bool // the caller knows that the new name does not exist
	NoReplace    bool // RENAME_NOREPLACE
	Exchange     bool // RENAME_EXCHANGE
	Whiteout     bool // RENAME_WHITEOUT
}

// ForRename returns what a rename asks of the two directories.
func ForRename(m RenameMode) (olddir, newdir Set) {
	olddir = choose(
		when{true, RenameatSource},
		when{m.Exchange, RenameatTarget},
		when{m.Exchange, Unlinkat},
		when{m.Whiteout, Mknodat},
	)
	newdir = choose(
		when{true, RenameatTarget},
		when{m.Exchange, RenameatSource},
		when{m.Exchange || !m.TargetAbsent && !m.NoReplace, Unlinkat},
	)
	return olddir, newdir
}

// ForMknod returns what a mknodat of the given type asks of the directory. A
// type that is not a FIFO, a socket or a regular file counts as a device.
func ForMknod(mode fs.FileMode) Set {
	switch mode.Type() {
	case 0:
		return Of(Create, Lookup)
	case fs.ModeNamedPipe:
		return Of(Mkfifoat)
	case fs.ModeSocket:
		return Of(Bind, Lookup)
	}
	return Of(Mknodat)
}

// ForCopy returns what copy_file_range and splice ask of the two descriptors,
// given whether each has an offset of its own in the call.
func ForCopy(inOffset, outOffset bool) (in, out Set) {
	in = choose(when{true, Read}, when{inOffset, Seek})
	out = choose(when{true, Write}, when{outOffset, Seek})
	return in, out
}

// ForSend returns what sending asks of a socket, given whether the call or the
// message carries an address.
func ForSend(address bool) Set {
	return choose(when{true, Write}, when{address, Connect})
}

// WriteMode is what a pwritev2 call asks for.
type WriteMode struct {
	Offset bool // the offset is not -1
	Append bool // RWF_APPEND, which makes the offset irrelevant
	Sync   bool // RWF_SYNC or RWF_DSYNC
	Moves  bool // RWF_NOAPPEND, which writes before the end, or a flag that is not known to leave the offset alone
}

// ForWrite returns what a write asks of a descriptor.
func ForWrite(m WriteMode) Set {
	return choose(
		when{true, Write},
		when{m.Offset && !m.Append || m.Moves, Seek},
		when{m.Sync, Fsync},
	)
}
