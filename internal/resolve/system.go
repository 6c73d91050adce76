package resolve

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

const systemFlag = "--system"

// systemRow is one line of what --system grants. Every row is optional: no
// machine has them all.
type systemRow struct {
	set   *rights.Set
	dir   string
	names string // in dir, separated by blanks; "*" stands for any characters
}

// systemTable is the operating system's runtime: what programs are made of and
// what they read to behave as usual. It holds nothing that a distribution keeps
// from ordinary users, so directories that mix both (/etc/ssl, /etc/ssh,
// /etc/pki) are not granted whole; no passwords of proxies or registries, so no
// pip.conf, npmrc or wgetrc; nothing of /var, /home, /root or /opt.
var systemTable = []systemRow{
	{&policy.ROX, "/", "usr bin sbin lib lib32 lib64 libx32 libexec"},
	{&policy.ROX, "/nix", "store"},
	{&policy.ROX, "/gnu", "store"},
	{&policy.ROX, "/run/current-system", "sw profile"},
	// The loader, the time, the language.
	{&policy.RO, "/etc", "ld.so.cache ld.so.conf ld.so.conf.d ld-musl-*.path localtime timezone locale.alias locale.conf default/locale"},
	// Names of users, machines and services.
	{&policy.RO, "/etc", "nsswitch.conf passwd group hosts host.conf resolv.conf services protocols networks rpc ethertypes netconfig gai.conf"},
	// Trust in servers.
	{&policy.RO, "/etc/ssl", "certs cert.pem openssl.cnf ct_log_list.cnf"},
	{&policy.RO, "/etc/pki", "ca-trust java tls/certs tls/cert.pem tls/openssl.cnf tls/ct_log_list.cnf"},
	{&policy.RO, "/etc", "ca-certificates ca-certificates.conf crypto-policies"},
	{&policy.RO, "/etc/ssh", "ssh_config ssh_config.d ssh_known_hosts"},
	// What this system is.
	{&policy.RO, "/etc", "os-release lsb-release debian_version redhat-release fedora-release alpine-release arch-release SuSE-release"},
	// Which program a name means, and how shells and terminals behave.
	{&policy.RO, "/etc", "alternatives shells profile profile.d bash.bashrc bashrc bash_completion.d zsh inputrc terminfo magic magic.mime mime.types manpath.config groff"},
	// Programs' own settings.
	{&policy.RO, "/etc", "gitconfig gitattributes vim vimrc nanorc emacs tmux.conf screenrc gdb fonts xattr.conf xml sgml texmf"},
	{&policy.RO, "/etc", "perl python python[0-9]* java java-* nodejs ruby php lua ImageMagick-*"},
}

// system adds what --system grants.
func (b *builder) system() error {
	if !b.policy.System {
		return nil
	}
	for _, row := range systemTable {
		for _, name := range strings.Fields(row.names) {
			for _, full := range b.matches(row.dir, name) {
				if err := b.systemGrant(full, *row.set); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *builder) systemGrant(name string, set rights.Set) error {
	obj, links, err := b.w.walk(name)
	if err != nil {
		// What is missing, or kept from this user, is no part of his system.
		return nil
	}
	obj.close()
	if err := b.addLinks(links, systemFlag); err != nil {
		return err
	}
	return b.add(obj.path, obj, set, systemFlag)
}

// matches returns the names in dir that a name of the table stands for.
func (b *builder) matches(dir, name string) []string {
	if !strings.Contains(name, "*") {
		return []string{path.Join(dir, name)}
	}
	var found []string
	for _, have := range b.list(dir) {
		if ok, err := path.Match(name, have); ok && err == nil {
			found = append(found, path.Join(dir, have))
		}
	}
	return found
}

// list returns the names in a directory of the host, none if it can not be read.
func (b *builder) list(dir string) []string {
	if names, ok := b.listed[dir]; ok {
		return names
	}
	var names []string
	if obj, _, err := b.w.walk(dir); err == nil {
		if fd, err := openat(obj.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
			names = readNames(fd)
		}
		obj.close()
	}
	if b.listed == nil {
		b.listed = make(map[string][]string)
	}
	b.listed[dir] = names
	return names
}
