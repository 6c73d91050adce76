// Package conformance holds an implementation of the package capsicum to what
// Capsicum is, through the public API and the system calls of programs only, so
// that the same cases run on Linux and on FreeBSD.
//
// A case is one call made in a process of its own kind: see [Case] in
// case_test.go. Columns are the circumstances that each case runs in: as root or
// as an ordinary user, alone or beside a thread that never rests, with a
// supervisor or with filters alone ("static").
//
//	make conformance    every case in every column, and a table
//	go test ./test/conformance    every case once and in the static form
//
// On Linux the same cases then make their calls through the C library, and must come
// out as with the Go package.
package conformance

// Inexact lists the cases that the implementation is known not to meet, with the
// reason. Such a case runs all the same, and fails the suite when it is met after
// all. A name that ends in "*" stands for every case that begins so.
var Inexact = []inexactCase{
	{"rights/mmap PROT_NONE: with mmap", supervised, mappings},
	{"rights/mmap to read: with mmap_r", supervised, mappings},
	{"rights/mmap to write: with mmap_w", supervised, mappings},
	{"rights/mmap to execute: with mmap_x", supervised, mappings},
	{"mmap/what is mapped is there", supervised, mappings},
	{"mmap/mprotect to execute what was mapped to read, with the right", supervised, mappings},
	{"mmap/mprotect to execute what was mapped privately", "", "mprotect names an address, and no filter knows what is mapped there: " +
		"a process may execute what it may read, as it may copy it to memory of its own and execute that."},

	{"rights/dup2: with nothing", supervised, onto},
	{"rights/dup3: with nothing", supervised, onto},
	{"rights/dup2 the old call: with nothing", supervised, onto},
	{"inheritance/a limited descriptor over an unlimited number", supervised, onto},
	{"threads/a limited descriptor over another, while it is written to", supervised, onto},
	{"threads/a limited descriptor is never unlimited while others are swapped over it", supervised, onto},

	{"inheritance/an unlimited descriptor over a limited number", supervised, over},
	{"inheritance/a descriptor over a limited number, in capability mode", supervised, over},
	{"inheritance/exec: the number used again after close-on-exec", supervised, over},

	{"inheritance/the lowest number: dup", supervised, number},
	{"inheritance/the lowest number: openat", supervised, number},
	{"inheritance/the lowest number: accept", supervised, number},

	{"rights/io_submit a read: with pread", supervised, asynchronous},
	{"rights/io_submit a read: fd without read", supervised, asynchronous},
	{"rights/io_submit a read: fd without seek,-seek_tell", supervised, asynchronous},
	{"rights/io_submit a read: fd without seek_tell", supervised, asynchronous},
	{"rights/io_submit a write: with pwrite", supervised, asynchronous},
	{"rights/io_submit a write: fd without seek,-seek_tell", supervised, asynchronous},
	{"rights/io_submit a write: fd without seek_tell", supervised, asynchronous},
	{"rights/io_submit a write: fd without write", supervised, asynchronous},
	{"rights/io_submit an fsync: with fsync", supervised, asynchronous},
	{"rights/io_submit an fsync: fd without fsync", supervised, asynchronous},
	{"rights/io_submit a poll: with event", supervised, asynchronous},
	{"rights/io_submit a poll: fd without event", supervised, asynchronous},
	{"rights/execveat a name: with fexecve,lookup", supervised, lookedUp},
	{"exec/by execveat beneath a directory", supervised, lookedUp},
	{"rights/fanotify_mark a name: with dir fstatat, fd inotify_add", supervised, "The kernel looks the name up again, in memory that can change " +
		"after a look; beneath a limited directory only what is held open can be marked."},
	{"inheritance/a copy of an O_PATH descriptor", supervised, "The kernel puts no descriptor without access into another process, and the " +
		"copy's rights must be there before the copy; the call is refused (EBADF)."},
	{"inheritance/clone with CLONE_FILES: a later limit is both's", supervised, "A process that was made before the first call, and shares the " +
		"table, has no filter."},
}

// InexactWithC lists further cases, of programs of Go with a part in C: with cgo, or
// with the C library.
var InexactWithC = []inexactCase{
	{"exec/a static program", supervised, landlock},
	{"exec/a static program, with the right", supervised, landlock},
	{"exec/no program", supervised, landlock},
	{"exec/descriptors keep their limits", supervised, landlock},
	{"exec/set-user-ID is ignored", supervised, landlock},
}

type inexactCase struct {
	Case    string // chapter/name
	Column  string // "static" or "supervised"; "" is every column
	Because string // one sentence
}

const (
	supervised = "supervised"

	mappings = "mprotect names an address, and no filter knows what is mapped there, so a mapping needs at once what it could be given later: " +
		"mmap_r always, and mmap_w if it is shared and the file is open for writing."
	onto = "Numbers below 256 let the most frequent calls pass until the process itself stacks a filter, which no copy does: a descriptor that " +
		"lacks a right for one of them which its file could be used for cannot be put there, and the call is refused. A filter that was stacked for " +
		"what was there before does not help: that it was is only what the process says."
	over = "A filter that was stacked for a number is for good: whatever comes there later lacks what the filter refuses, and says so when asked " +
		"for its rights."
	number       = "A limited descriptor that no library call makes gets a number that says what may be done with it; those are high."
	asynchronous = "What io_submit does is in memory that can change after a look; asynchronous calls do not exist (ENOSYS), as on a " +
		"kernel without them."
	landlock = "Landlock, which keeps the kernel from executing names, is put on by each thread for itself, and not all of them are the " +
		"runtime's to ask; so nothing is executed in capability mode."
	lookedUp = "The kernel looks the name up again, in memory that can change after a look; a program is executed through a descriptor of " +
		"its own."
)
