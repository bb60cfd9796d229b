// The survey: what a program may notice of the place where it runs, as lines of JSON, ["QUESTION", "ANSWER"]. It
// runs in a pod, as the command of a session, and on the laptop, and the lines are compared one by one.
//
//	survey PEER VOLUME...    PEER is a headless service of one pod: HTTP on 8080, nobody on 9. The first VOLUME may
//	                         be written.
//
// CGO_ENABLED=0: no library of the place answers in its stead. Nothing that it makes is left. It ends with its standard input.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"syscall"
)

func main() {
	peer, volumes := os.Args[1], os.Args[2:]
	askNames(peer)
	askNetwork(peer)
	askProcess()
	askFiles(volumes)
	io.Copy(io.Discard, os.Stdin) // who asks may still have to look at the pod
}

// tell prints one line; what went wrong is an answer, too.
func tell(question, answer string, err error) {
	if err != nil {
		answer = said(err)
	}
	line := strings.Builder{}
	plain := json.NewEncoder(&line)
	plain.SetEscapeHTML(false)
	plain.Encode([]string{question, answer})
	fmt.Print(line.String())
}

// said is the kernel's word for it where there is one, without the names and numbers that Go puts around it.
func said(err error) string {
	var code syscall.Errno
	var resolving *net.DNSError
	switch {
	case errors.As(err, &code):
		return code.Error()
	case errors.As(err, &resolving):
		return resolving.Err
	case os.IsTimeout(err):
		return "no answer"
	}
	return err.Error()
}

// outcome is the answer of a question that is whether something can be done.
func outcome(question string, err error) {
	tell(question, "done", err)
}

func content(path string) (string, error) {
	read, err := os.ReadFile(path)
	return string(read), err
}

func firstOf(paths ...string) (string, error) {
	for _, path := range paths {
		if read, err := content(path); err == nil {
			return strings.TrimSpace(read), nil
		}
	}
	return "", syscall.ENOENT
}

func sorted(words []string) string {
	sort.Strings(words)
	return strings.Join(words, " ")
}
