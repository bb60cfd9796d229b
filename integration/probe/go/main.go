// The probe as a static binary: CGO_ENABLED=0 leaves nothing to preload into and resolves names by itself.
// It answers the questions of ../probe.py, where their contract stands, as far as they are not Python's own.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// question holds the arguments of every kind of question; each looks at its own.
type question struct {
	Ask     string
	Path    string
	Name    string
	Host    string
	Port    int
	Send    string
	End     *bool
	Size    int
	Tries   int
	Text    string
	Kind    string
	Address string
	Status  int
}

type answers map[string]any

func main() {
	for _, spec := range os.Args[min(2, len(os.Args)):] {
		kind, where, _ := strings.Cut(spec, ":")
		number, address, _ := strings.Cut(where, "@")
		port, _ := strconv.Atoi(number)
		if _, err := listen(question{Kind: kind, Port: port, Address: address}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		<-term
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		said, _ := json.Marshal(reply(lines.Bytes()))
		fmt.Println(string(said))
	}
}

func reply(line []byte) answers {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return failed(err)
	}
	know, found := map[string]func(question) (any, error){
		"environment": environment,
		"hostname":    func(question) (any, error) { return os.Hostname() },
		"file":        file,
		"write":       write,
		"resolve":     resolve,
		"reverse":     reverse,
		"tcp":         tcp,
		"udp":         udp,
		"addresses":   addresses,
		"process":     process,
		"listen":      listen,
		"die":         func(q question) (any, error) { os.Exit(q.Status); return nil, nil },
	}[asked.Ask]
	if !found {
		return failed(errors.New("the static probe does not know " + asked.Ask))
	}
	seen, err := know(asked)
	if err != nil {
		return failed(err)
	}
	return answers{"is": seen}
}

// failed names errors as Python does, so that one test reads both.
func failed(err error) answers {
	kind, number := "Error", ""
	var resolving *net.DNSError
	var code syscall.Errno
	switch {
	case errors.As(err, &resolving):
		kind = "gaierror"
	case errors.Is(err, os.ErrDeadlineExceeded):
		kind = "TimeoutError"
	case errors.As(err, &code):
		kind, number = "OSError", map[syscall.Errno]string{
			syscall.ECONNREFUSED: "ECONNREFUSED", syscall.ECONNRESET: "ECONNRESET", syscall.ENOENT: "ENOENT",
			syscall.EACCES: "EACCES", syscall.EROFS: "EROFS", syscall.EHOSTUNREACH: "EHOSTUNREACH",
			syscall.ENETUNREACH: "ENETUNREACH", syscall.EPIPE: "EPIPE",
		}[code]
	}
	return answers{"error": answers{"kind": kind, "errno": number, "text": err.Error()}}
}

func environment(question) (any, error) {
	seen := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		seen[name] = value
	}
	return seen, nil
}

func file(q question) (any, error) {
	info, err := os.Lstat(q.Path)
	if err != nil {
		return nil, err
	}
	seen := answers{"mode": info.Mode().Perm(), "kind": "other"}
	if info.Mode()&fs.ModeSymlink != 0 {
		if seen["target"], err = os.Readlink(q.Path); err != nil {
			return nil, err
		}
		if info, err = os.Stat(q.Path); err != nil {
			return nil, err
		}
	}
	if info.IsDir() {
		entries, err := os.ReadDir(q.Path)
		names := []string{}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		seen["kind"], seen["names"] = "directory", names
		return seen, err
	}
	if info.Mode().IsRegular() {
		content, err := os.ReadFile(q.Path)
		seen["kind"], seen["content"] = "file", base64.StdEncoding.EncodeToString(content)
		return seen, err
	}
	return seen, nil
}

func write(q question) (any, error) {
	return len(q.Text), os.WriteFile(q.Path, []byte(q.Text), 0o644)
}

func resolve(q question) (any, error) {
	found, err := net.LookupHost(q.Name)
	sort.Strings(found)
	return found, err
}

func reverse(q question) (any, error) {
	names, err := net.LookupAddr(q.Address)
	if err != nil {
		return nil, err
	}
	return strings.TrimSuffix(names[0], "."), nil
}

func tcp(q question) (any, error) {
	dialled, err := net.DialTimeout("tcp", net.JoinHostPort(q.Host, strconv.Itoa(q.Port)), 10*time.Second)
	if err != nil {
		return nil, err
	}
	connection := dialled.(*net.TCPConn)
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(connection, q.Send); err != nil {
		return nil, err
	}
	received := make([]byte, 65536)
	if q.End != nil && !*q.End {
		n, err := connection.Read(received)
		if err != nil {
			return nil, err
		}
		received = received[:n]
	} else {
		connection.CloseWrite()
		if received, err = io.ReadAll(connection); err != nil {
			return nil, err
		}
	}
	return answers{"received": string(received), "own": ip(connection.LocalAddr()), "peer": ip(connection.RemoteAddr())}, nil
}

func udp(q question) (any, error) {
	flow, err := net.Dial("udp", net.JoinHostPort(q.Host, strconv.Itoa(q.Port)))
	if err != nil {
		return nil, err
	}
	defer flow.Close()
	sent, received := make([]byte, q.Size), make([]byte, 65536)
	for i := range sent {
		sent[i] = byte(i % 251)
	}
	tries := max(q.Tries, 1)
	for n := 0; tries > 0; tries-- {
		if _, err = flow.Write(sent); err != nil {
			return nil, err
		}
		flow.SetReadDeadline(time.Now().Add(5 * time.Second / time.Duration(max(q.Tries, 1))))
		if n, err = flow.Read(received); err == nil {
			return answers{"size": n, "same": string(received[:n]) == string(sent), "peer": ip(flow.RemoteAddr())}, nil
		}
	}
	return nil, err
}

func ip(address net.Addr) string {
	host, _, _ := net.SplitHostPort(address.String())
	return host
}

func addresses(question) (any, error) {
	all, err := net.InterfaceAddrs()
	seen := []string{}
	for _, address := range all {
		own := address.(*net.IPNet).IP
		if !own.IsLoopback() && !own.IsLinkLocalUnicast() {
			seen = append(seen, own.String())
		}
	}
	sort.Strings(seen)
	return seen, err
}

func process(question) (any, error) {
	directory, err := os.Getwd()
	return answers{"argv": os.Args[1:], "cwd": directory, "uid": os.Getuid(), "gid": os.Getgid()}, err
}

func listen(q question) (any, error) {
	where := net.JoinHostPort(q.Address, strconv.Itoa(q.Port))
	if q.Kind == "udp" {
		flow, err := net.ListenPacket("udp", where)
		if err == nil {
			go echoDatagrams(flow)
		}
		return q.Port, err
	}
	listener, err := net.Listen("tcp", where)
	if err != nil {
		return nil, err
	}
	if q.Kind == "http" {
		go http.Serve(listener, http.HandlerFunc(answer))
	} else {
		go echoStreams(listener)
	}
	return q.Port, nil
}

func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		sum := 0
		for _, b := range body {
			sum += int(b)
		}
		json.NewEncoder(w).Encode(answers{"who": who(), "length": len(body), "sum": sum})
		return
	}
	hostname, _ := os.Hostname()
	own := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	json.NewEncoder(w).Encode(answers{
		"who": who(), "hostname": hostname, "path": r.URL.Path, "host": r.Host, "peer": peer, "own": ip(own),
	})
}

func who() string {
	if name, set := os.LookupEnv("PROBE_WHO"); set {
		return name
	}
	return "nobody"
}

func echoDatagrams(flow net.PacketConn) {
	received := make([]byte, 65536)
	for {
		n, peer, err := flow.ReadFrom(received)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			flow.WriteTo(received[:n], peer)
		}
	}
}

func echoStreams(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() { defer connection.Close(); io.Copy(connection, connection) }()
	}
}
