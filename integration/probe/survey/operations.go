package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

const (
	oTmpfile       = 0o20000000 | syscall.O_DIRECTORY
	ofdSetLock     = 37
	seekHole       = 4
	renameExchange = 2
	renameat2      = 316 // on x86-64; elsewhere it is another call, and so the other place's is
)

// operations are what a program may do below a directory of its own in a volume that it may write.
func operations(place string) {
	do := func(what string, err error) { outcome("in a volume: "+what, err) }
	at := func(name string) string { return filepath.Join(place, name) }
	do("mkdir", os.Mkdir(place, 0o777))
	defer os.RemoveAll(place)
	file, err := os.OpenFile(at("file"), os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o666)
	do("a new file", err)
	if err != nil {
		return
	}
	defer file.Close()
	fd := int(file.Fd())
	_, err = file.WriteAt([]byte("0123456789"), 4096)
	do("pwrite", err)
	do("truncate", file.Truncate(8192))
	do("fallocate", syscall.Fallocate(fd, 0, 0, 16384))
	do("fsync", file.Sync())
	_, err = syscall.Seek(fd, 0, seekHole)
	do("lseek to a hole", err)
	do("flock", syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB))
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	do("a lock of fcntl", syscall.FcntlFlock(uintptr(fd), syscall.F_SETLK, &lock))
	lock = syscall.Flock_t{Type: syscall.F_UNLCK}
	do("its end", syscall.FcntlFlock(uintptr(fd), syscall.F_SETLK, &lock))
	lock = syscall.Flock_t{Type: syscall.F_WRLCK}
	do("a lock of the open file", syscall.FcntlFlock(uintptr(fd), ofdSetLock, &lock))
	mapped, err := syscall.Mmap(fd, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	do("a shared map", err)
	if err == nil {
		mapped[0] = 'x'
		do("unmap", syscall.Munmap(mapped))
	}
	do("chmod", os.Chmod(at("file"), 0o640))
	do("chown to the own user", os.Chown(at("file"), os.Getuid(), -1))
	do("chown to root", os.Chown(at("file"), 0, -1))
	do("utimes", syscall.UtimesNano(at("file"), []syscall.Timespec{{Sec: 1}, {Sec: 2}}))
	var info syscall.Stat_t
	err = syscall.Stat(at("file"), &info)
	tell("in a volume: what stat says of it", fmt.Sprintf("%o, %d bytes, %d links, changed %d, owner %s", info.Mode, info.Size, info.Nlink, info.Mtim.Sec, owner(info)), err)
	do("setxattr", syscall.Setxattr(at("file"), "user.survey", []byte("x"), 0))
	do("link", os.Link(at("file"), at("hard")))
	do("symlink", os.Symlink("file", at("soft")))
	do("a second mkdir of one name", os.Mkdir(place, 0o777))
	do("rmdir of a directory that is not empty", syscall.Rmdir(place))
	do("rename over a name", os.Rename(at("hard"), at("soft")))
	others(at, do)
	descriptors(place, do)
	do("unlink", os.Remove(at("file")))
	_, err = file.WriteAt([]byte("x"), 0)
	do("a write to what has no name any more", err)
	do("unlink of a name that is not there", os.Remove(at("file")))
	os.RemoveAll(at("soft"))
	listed, err := os.ReadDir(place)
	left := []string{}
	for _, each := range listed {
		left = append(left, each.Name())
	}
	tell("in a volume: what is left in the directory", sorted(left), err)
	for _, name := range left {
		os.Remove(at(name))
	}
	do("rmdir", os.Remove(place))
}

func others(at func(string) string, do func(string, error)) {
	do("a FIFO", syscall.Mkfifo(at("fifo"), 0o600))
	os.Remove(at("fifo"))
	fd, _ := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	do("a Unix socket", syscall.Bind(fd, &syscall.SockaddrUnix{Name: at("socket")}))
	syscall.Close(fd)
	os.Remove(at("socket"))
	do("a device", syscall.Mknod(at("device"), syscall.S_IFCHR|0o600, 1<<8|3))
	_, err := os.Create(at(strings.Repeat("n", 256)))
	do("a name of 256 bytes", err)
	long, err := os.Create(at(strings.Repeat("n", 255)))
	do("a name of 255 bytes", err)
	if err == nil {
		long.Close()
		os.Remove(long.Name())
	}
	odd, err := os.Create(at("odd \n\xff"))
	do("a name of any bytes", err)
	if err == nil {
		odd.Close()
		os.Remove(odd.Name())
	}
	os.WriteFile(at("one"), nil, 0o600)
	os.WriteFile(at("two"), nil, 0o600)
	do("to exchange two names", exchange(at("one"), at("two")))
	os.Remove(at("one"))
	os.Remove(at("two"))
	os.WriteFile(at("program"), []byte("#!/bin/sh\n"), 0o700)
	process, err := os.StartProcess(at("program"), []string{"program"}, &os.ProcAttr{})
	do("to run a program", err)
	if err == nil {
		process.Wait()
	}
	os.Remove(at("program"))
}

func exchange(one, two string) error {
	a, _ := syscall.BytePtrFromString(one)
	b, _ := syscall.BytePtrFromString(two)
	here := ^uintptr(99) // AT_FDCWD, -100
	_, _, failed := syscall.Syscall6(renameat2, here, uintptr(unsafe.Pointer(a)), here, uintptr(unsafe.Pointer(b)), renameExchange, 0)
	if failed != 0 {
		return failed
	}
	return nil
}

func descriptors(place string, do func(string, error)) {
	for what, flags := range map[string]int{
		"a file without a name": oTmpfile | syscall.O_RDWR, "a directory opened for writing": syscall.O_RDWR, "a directory opened": syscall.O_RDONLY,
	} {
		fd, err := syscall.Open(place, flags|syscall.O_CLOEXEC, 0o600)
		do(what, err)
		if err == nil {
			syscall.Close(fd)
		}
	}
	fd, err := syscall.Open(filepath.Join(place, "file"), syscall.O_RDWR|syscall.O_DIRECT|syscall.O_CLOEXEC, 0)
	do("a file opened with O_DIRECT", err)
	syscall.Close(fd)
	watch, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err == nil {
		_, err = syscall.InotifyAddWatch(watch, place, syscall.IN_CREATE)
		syscall.Close(watch)
	}
	do("a watch of inotify", err)
}
