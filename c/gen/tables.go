package main

import (
	"bytes"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// lister writes lists once, however often they are used.
type lister struct {
	out   *bytes.Buffer
	names map[string]string
}

// list writes a list of elements of a type, and returns "its name, its length" for
// an initialiser.
func (l *lister) list(kind string, elements []string) string {
	if len(elements) == 0 {
		return "0, 0"
	}
	text := fmt.Sprintf("[] = {\n\t%s,\n};\n", strings.Join(elements, ",\n\t"))
	name, ok := l.names[kind+text]
	if !ok {
		name = fmt.Sprintf("list%d", len(l.names))
		l.names[kind+text] = name
		fmt.Fprintf(l.out, "static const %s %s%s", kind, name, text)
	}
	return fmt.Sprintf("%s, %d", name, len(elements))
}

func (l *lister) tests(list []slot.Test) string {
	var out []string
	for _, t := range list {
		wide := 0
		if t.Wide {
			wide = 1
		}
		var values []string
		for _, v := range t.Values {
			values = append(values, fmt.Sprintf("%#xU", v))
		}
		out = append(out, fmt.Sprintf("{%d, %d, %d, %#xU, %s}", t.Arg, t.Op, wide, t.Mask, l.list("uint64_t", values)))
	}
	return l.list("struct test", out)
}

func (l *lister) clauses(list []slot.Clause) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("{%s, %d}", l.tests(c.Tests), c.Errno))
	}
	return "{" + l.list("struct clause", out) + "}"
}

func (l *lister) demands(list []slot.Demand) string {
	var out []string
	for _, d := range list {
		out = append(out, fmt.Sprintf("{%d, %d, %d, %d, {%#xU, %#xU}, %s}", d.Arg, d.Kind, bit(d.ReadOnly), bit(d.Writable),
			d.Rights[0], d.Rights[1], l.tests(d.Tests)))
	}
	return l.list("struct demand", out)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func writeTables(b *bytes.Buffer) {
	fmt.Fprint(b, "#include \"static.h\"\n\n")
	l := &lister{b, map[string]string{}}
	calls := slot.StaticCalls()
	var rows []string
	for _, c := range calls {
		rows = append(rows, fmt.Sprintf("{%s, %d, %s, %s, %s, %s, %s} /* %s */", l.demands(c.Demands), bit(c.Refused),
			l.clauses(c.Left), l.clauses(c.Own), l.clauses(c.OwnMode), l.clauses(c.First), l.clauses(c.Poll), c.Name))
	}
	fmt.Fprintf(b, "const struct call capsicum_calls[] = {\n\t%s,\n};\n", strings.Join(rows, ",\n\t"))
	rows = nil
	for _, c := range slot.Commands() {
		rows = append(rows, fmt.Sprintf("{%d, %d, {%#xU, %#xU}}", c.Number, c.Mask, c.Rights[0], c.Rights[1]))
	}
	fmt.Fprintf(b, "const struct command capsicum_commands[] = {\n\t%s,\n};\nconst int capsicum_ncommands = %d;\n",
		strings.Join(rows, ",\n\t"), len(rows))
	for _, m := range []struct {
		macro string
		arch  sysno.Arch
	}{{"__x86_64__", sysno.AMD64}, {"__aarch64__", sysno.ARM64}} {
		fmt.Fprintf(b, "\n#ifdef %s\n", m.macro)
		fmt.Fprintf(b, "const uint32_t capsicum_arch = %#xU;\n", uint32(m.arch))
		writeNumbers(b, m.arch, calls)
		writeMode(b, m.arch)
		fmt.Fprint(b, "#endif\n")
	}
}

func writeNumbers(b *bytes.Buffer, arch sysno.Arch, calls []slot.Call) {
	table := sysno.Table(arch)
	fmt.Fprint(b, "const struct number capsicum_numbers[] = {\n")
	for _, e := range table {
		row := slices.IndexFunc(calls, func(c slot.Call) bool { return c.Name == e.Name })
		fmt.Fprintf(b, "\t{%d, %d}, /* %s */\n", e.Nr, row, e.Name)
	}
	fmt.Fprintf(b, "};\nconst int capsicum_nnumbers = %d;\n", len(table))
}

// writeMode writes capability mode's filter as it is for one process, and where in
// it that process's number is.
func writeMode(b *bytes.Buffer, arch sysno.Arch) {
	const one, other = 1 << 20, 1 << 21
	prog, places := compileMode(arch, one), []string{}
	for i, in := range compileMode(arch, other) {
		switch {
		case in == prog[i]:
		case prog[i].K == one && in.K == other:
			places = append(places, fmt.Sprint(i))
		default:
			log.Fatalf("gen: capability mode of %s depends on the process at instruction %d", arch, i)
		}
	}
	fmt.Fprint(b, "const struct sock_filter capsicum_mode[] = {\n")
	for _, in := range prog {
		fmt.Fprintf(b, "\t{%#x, %d, %d, %#xU},\n", in.Code, in.Jt, in.Jf, in.K)
	}
	fmt.Fprintf(b, "};\nconst int capsicum_nmode = %d;\n", len(prog))
	fmt.Fprintf(b, "const uint16_t capsicum_mode_pids[] = {%s};\nconst int capsicum_nmode_pids = %d;\n",
		strings.Join(places, ", "), len(places))
}

func compileMode(arch sysno.Arch, pid int) []cbpf.Instruction {
	prog, err := slot.StaticMode(arch, pid)
	if err != nil {
		log.Fatalf("gen: %v", err)
	}
	return prog
}
