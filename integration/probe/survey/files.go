package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func askFiles(volumes []string) {
	mounts := mounted()
	for _, volume := range volumes {
		volumeFacts(volume, mounts)
		filepath.WalkDir(volume, func(path string, _ fs.DirEntry, err error) error {
			// the kubelet names its directory by the time at which it wrote it
			if strings.HasPrefix(filepath.Base(path), "..2") {
				return fs.SkipDir
			}
			entry(path, err)
			return nil
		})
		made, err := os.Create(filepath.Join(volume, "by-the-survey"))
		if err == nil {
			made.Close()
			os.Remove(made.Name())
		}
		outcome("to make a file: "+volume, err)
	}
	operations(filepath.Join(volumes[0], "of-the-survey"))
	places(mounts)
}

// mounted is the type and the options of the last mount at each path.
func mounted() map[string]string {
	read, _ := content("/proc/self/mountinfo")
	found := map[string]string{}
	for _, row := range strings.Split(read, "\n") {
		before, after, _ := strings.Cut(row, " - ")
		if words := strings.Fields(before); len(words) > 5 {
			found[words[4]] = strings.Fields(after)[0] + " " + words[5]
		}
	}
	return found
}

func volumeFacts(path string, mounts map[string]string) {
	kind, options, _ := strings.Cut(mounts[path], " ")
	tell(path+": the mount's file system", kind, nil)
	kept := []string{}
	for _, word := range strings.Split(options, ",") {
		if word == "ro" || word == "rw" || word == "noexec" || word == "nosuid" || word == "nodev" {
			kept = append(kept, word)
		}
	}
	tell(path+": the mount's options", strings.Join(kept, ","), nil)
	var seen syscall.Statfs_t
	err := syscall.Statfs(path, &seen)
	tell(path+": the type by statfs", fmt.Sprintf("%x", seen.Type), err)
	tell(path+": the block size by statfs", count(int(seen.Bsize)), err)
	tell(path+": the longest name by statfs", count(int(seen.Namelen)), err)
	tell(path+": whether statfs tells of space", fmt.Sprint(seen.Blocks > 0), err)
}

func entry(path string, err error) {
	var info syscall.Stat_t
	if err == nil {
		err = syscall.Lstat(path, &info)
	}
	tell(path+": the mode", fmt.Sprintf("%o", info.Mode), err)
	if err != nil {
		return
	}
	tell(path+": the owner", owner(info), nil)
	tell(path+": the group", count(int(info.Gid)), nil)
	switch info.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		if strings.HasPrefix(target, "..2") {
			target = "the kubelet's directory"
		}
		tell(path+": the target", target, err)
	case syscall.S_IFREG:
		read, err := content(path)
		tell(path+": the content", withoutSecrets(read), err)
	case syscall.S_IFDIR:
		tell(path+": the number of links", count(int(info.Nlink)), nil)
	}
}

// withoutSecrets is a token's claims but for its times and numbers, and everything else as it is.
func withoutSecrets(read string) string {
	parts := strings.Split(read, ".")
	if len(parts) != 3 || !strings.HasPrefix(read, "eyJ") {
		return read
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	claims := struct {
		Sub        string
		Aud        []string
		Kubernetes struct{ Pod struct{ Name string } } `json:"kubernetes.io"`
	}{}
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return said(err)
	}
	return fmt.Sprintf("a token of %s for %d audiences, bound to %s", claims.Sub, len(claims.Aud), claims.Kubernetes.Pod.Name)
}

func owner(info syscall.Stat_t) string {
	if int(info.Uid) == os.Getuid() {
		return "the process's user"
	}
	return count(int(info.Uid))
}

// places that the runtime gives to a container, or that programs look at.
func places(mounts map[string]string) {
	for _, path := range []string{"/", "/tmp", "/proc", "/sys", "/dev", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"} {
		kind, options, _ := strings.Cut(mounts[path], " ")
		options, _, _ = strings.Cut(options, ",")
		tell(path+": the mount", kind+" "+options, nil)
	}
	for _, path := range []string{"/tmp", "/dev/shm", "/dev/termination-log", "/dev/fuse", "/dev/net/tun", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"} {
		var info syscall.Stat_t
		err := syscall.Stat(path, &info)
		tell(path+": the mode", fmt.Sprintf("%o", info.Mode), err)
	}
	var seen syscall.Statfs_t
	err := syscall.Statfs("/dev/shm", &seen)
	tell("/dev/shm: the size", count(int(seen.Blocks)*int(seen.Bsize)), err)
	for _, path := range []string{"/tmp/by-the-survey", "/dev/shm/by-the-survey", "/by-the-survey", "/proc/sys/net/core/somaxconn"} {
		made, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			made.Close()
			if !strings.HasPrefix(path, "/proc") {
				os.Remove(path)
			}
		}
		outcome("to open for writing: "+path, err)
	}
	log, err := os.OpenFile("/dev/termination-log", os.O_WRONLY, 0)
	if err == nil {
		log.Close()
	}
	outcome("to open for writing: /dev/termination-log", err)
	listed, err := os.ReadDir("/dev")
	words := []string{}
	for _, each := range listed {
		words = append(words, each.Name())
	}
	tell("names in /dev", sorted(words), err)
	listed, err = os.ReadDir("/")
	words = []string{}
	for _, each := range listed {
		words = append(words, each.Name())
	}
	tell("names in /", sorted(words), err)
}
