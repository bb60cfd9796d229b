package main

import (
	"os"
	"os/user"
	"sort"
	"strings"
	"syscall"
	"time"
)

// asked of /proc/self/status. What the runtime of Go sets itself (caught signals) is not among them.
var status = []string{
	"Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
	"SigBlk", "SigIgn", "Cpus_allowed_list",
}

func askProcess() {
	environment()
	read, err := content("/proc/self/status")
	fields := map[string]string{}
	for _, row := range strings.Split(read, "\n") {
		name, value, _ := strings.Cut(row, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	for _, name := range status {
		tell("/proc/self/status: "+name, fields[name], err)
	}
	limits()
	directory, err := os.Getwd()
	tell("the working directory", directory, err)
	tell("the parent process", count(os.Getppid()), nil)
	names()
	machine()
	cgroup()
	clock()
}

func environment() {
	pairs := os.Environ()
	sort.Strings(pairs)
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		tell("variable "+name, value, nil)
	}
}

func limits() {
	read, err := content("/proc/self/limits")
	if err != nil {
		tell("limits", "", err)
		return
	}
	for _, row := range strings.Split(strings.TrimSpace(read), "\n")[1:] {
		words := strings.Fields(row[26:])
		soft, hard := words[0], words[1]
		name := strings.TrimSpace(row[:26])
		if name == "Max open files" {
			soft = hard // which the runtime of Go raises it to
		}
		tell("limit: "+name, soft+" "+hard, nil)
	}
}

func names() {
	current, err := user.Current()
	if err != nil {
		current = &user.User{}
	}
	tell("the user's name", current.Username, err)
	open, err := os.ReadDir("/proc/self/fd")
	words := []string{}
	for _, each := range open {
		// what the runtime of Go opened for itself, and the list of them, which is closed by now
		target, err := os.Readlink("/proc/self/fd/" + each.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode") {
			words = append(words, each.Name())
		}
	}
	tell("open files", sorted(words), err)
	priority, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	tell("the priority", count(20-priority), err)
	session, _, failed := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	own := "of another process"
	if int(session) == os.Getpid() {
		own = "the own"
	}
	if session == 0 {
		own = "of a process that is not seen"
	}
	if failed != 0 {
		own = failed.Error()
	}
	tell("the session's leader", own, nil)
}

func machine() {
	var seen syscall.Utsname
	err := syscall.Uname(&seen)
	for name, value := range map[string][65]int8{"sysname": seen.Sysname, "release": seen.Release, "version": seen.Version,
		"machine": seen.Machine, "domainname": seen.Domainname} {
		text := strings.Builder{}
		for _, each := range value {
			if each == 0 {
				break
			}
			text.WriteByte(byte(each))
		}
		tell("uname: "+name, text.String(), err)
	}
	for _, name := range []string{"kernel/shmmax", "kernel/msgmax", "fs/mqueue/msg_max", "vm/max_map_count", "vm/overcommit_memory", "fs/inotify/max_user_watches", "user/max_user_namespaces"} {
		read, err := firstOf("/proc/sys/" + name)
		tell("sysctl: "+strings.ReplaceAll(name, "/", "."), read, err)
	}
	read, err := content("/proc/meminfo")
	total, _, _ := strings.Cut(read, "\n")
	tell("/proc/meminfo: MemTotal", strings.Join(strings.Fields(total), " "), err)
	read, err = content("/proc/cpuinfo")
	tell("/proc/cpuinfo: processors", count(strings.Count(read, "processor\t")), err)
	for _, path := range []string{"/etc/machine-id", "/etc/os-release", "/etc/passwd", "/etc/group"} {
		read, err := content(path)
		tell(path, read, err)
	}
}

func cgroup() {
	read, err := content("/proc/self/cgroup")
	places := map[string]bool{}
	for _, row := range strings.Split(strings.TrimSpace(read), "\n") {
		if words := strings.SplitN(row, ":", 3); len(words) == 3 {
			places[words[2]] = true
		}
	}
	words := []string{}
	for place := range places {
		words = append(words, place)
	}
	tell("/proc/self/cgroup: the paths", sorted(words), err)
	base := "/sys/fs/cgroup/"
	read, err = firstOf(base+"memory.max", base+"memory/memory.limit_in_bytes")
	tell("/sys/fs/cgroup: the memory limit", read, err)
	read, err = firstOf(base+"cpu.max", base+"cpu/cpu.cfs_quota_us")
	tell("/sys/fs/cgroup: the CPU limit", read, err)
	read, err = firstOf(base+"pids.max", base+"pids/pids.max")
	tell("/sys/fs/cgroup: the process limit", read, err)
	read, err = firstOf("/proc/self/oom_score_adj")
	tell("oom_score_adj", read, err)
}

func clock() {
	name, _ := time.Now().Zone()
	tell("the time zone", name, nil)
	target, err := os.Readlink("/etc/localtime")
	tell("/etc/localtime", target, err)
	read, err := content("/etc/timezone")
	tell("/etc/timezone", read, err)
}
