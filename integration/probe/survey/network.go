package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	patience = 10 * time.Second
	silence  = 1 * time.Second
	nowhere  = "192.0.2.1" // RFC 5737
	classE   = "240.0.0.1" // RFC 1112
	account  = "/var/run/secrets/kubernetes.io/serviceaccount/"
	ipMTU    = 14 // ip(7)
	ip6MTU   = 24 // ipv6(7)
	sctp     = 132
)

func count(n int) string { return strconv.Itoa(n) }

func askNetwork(peer string) {
	interfaces()
	routes()
	families := map[string]string{}
	if found, err := addressesOf(peer); err == nil {
		for _, address := range found {
			families[familyOf(address)] = address
		}
	}
	for _, family := range []string{"IPv4", "IPv6"} {
		address := families[family]
		if address == "" { // the place has no such name: nowhere, and refused at once
			address = map[string]string{"IPv4": "0.0.0.1", "IPv6": "100::1"}[family]
		}
		paths(family, address)
		whence(family, address)
	}
	refusals(families["IPv4"])
	binding()
	sockets()
	for _, name := range sysctls {
		read, err := content("/proc/sys/net/" + name)
		tell("sysctl: net."+strings.ReplaceAll(name, "/", "."), strings.Join(strings.Fields(read), " "), err)
	}
	api()
}

var sysctls = []string{
	"core/somaxconn", "ipv4/ip_unprivileged_port_start", "ipv4/ip_local_port_range", "ipv4/ip_local_reserved_ports",
	"ipv4/ip_default_ttl", "ipv4/ip_forward", "ipv4/ip_nonlocal_bind", "ipv4/ping_group_range", "ipv4/tcp_keepalive_time",
	"ipv4/tcp_keepalive_intvl", "ipv4/tcp_keepalive_probes", "ipv4/tcp_fin_timeout", "ipv4/tcp_max_syn_backlog",
	"ipv4/tcp_syn_retries", "ipv4/tcp_retries2", "ipv4/tcp_tw_reuse", "ipv4/tcp_rmem", "ipv4/tcp_wmem", "ipv4/tcp_congestion_control",
	"ipv4/tcp_fastopen", "ipv4/tcp_mtu_probing", "ipv6/bindv6only", "ipv6/conf/all/disable_ipv6",
}

func familyOf(address string) string {
	if strings.Contains(address, ":") {
		return "IPv6"
	}
	return "IPv4"
}

func interfaces() {
	all, err := net.Interfaces()
	names := []string{}
	for _, one := range all {
		names = append(names, one.Name)
	}
	tell("the interfaces", sorted(names), err)
	for _, name := range []string{"lo", "eth0"} {
		one, err := net.InterfaceByName(name)
		if err != nil {
			one = &net.Interface{}
		}
		tell(name+": the MTU", count(one.MTU), err)
		tell(name+": the flags", one.Flags.String(), err)
		tell(name+": the length of the hardware address", count(len(one.HardwareAddr)), err)
		addresses, _ := one.Addrs()
		words := []string{}
		for _, address := range addresses {
			if network := address.(*net.IPNet); !network.IP.IsLinkLocalUnicast() {
				words = append(words, network.String())
			}
		}
		tell(name+": the addresses", sorted(words), err)
	}
}

// routes of the main table, as /proc tells them, without the addresses, which are the node's.
func routes() {
	read, err := content("/proc/net/route")
	kinds := []string{}
	for _, row := range strings.Split(strings.TrimSpace(read), "\n")[1:] {
		if words := strings.Fields(row); len(words) > 7 {
			kinds = append(kinds, words[0]+":"+prefix(words[7]))
		}
	}
	tell("the devices and prefixes of routes: IPv4", sorted(unique(kinds)), err)
	read, err = content("/proc/net/ipv6_route")
	kinds = []string{}
	for _, row := range strings.Split(strings.TrimSpace(read), "\n") {
		if words := strings.Fields(row); len(words) > 9 && words[9] != "lo" {
			length, _ := strconv.ParseInt(words[1], 16, 16)
			kinds = append(kinds, fmt.Sprintf("%s:%d", words[9], length))
		}
	}
	tell("the devices and prefixes of routes: IPv6", sorted(unique(kinds)), err)
}

func unique(words []string) []string {
	found, seen := []string{}, map[string]bool{}
	for _, word := range words {
		if !seen[word] {
			found = append(found, word)
		}
		seen[word] = true
	}
	return found
}

func prefix(mask string) string {
	bytes, _ := hex.DecodeString(mask)
	ones := 0
	for _, each := range bytes {
		for ; each != 0; each &= each - 1 {
			ones++
		}
	}
	return count(ones)
}

// paths are what getsockname, getpeername and the kernel's notion of the way say.
func paths(family, address string) {
	for _, kind := range []string{"udp", "tcp"} {
		flow, err := net.DialTimeout(kind, net.JoinHostPort(address, "8080"), patience)
		own, level, option := "", syscall.IPPROTO_IP, ipMTU
		if family == "IPv6" {
			level, option = syscall.IPPROTO_IPV6, ip6MTU
		}
		size, segment := "", ""
		if err == nil {
			own = host(flow.LocalAddr())
			size = socketOption(flow, level, option)
			segment = socketOption(flow, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG)
			flow.Close()
		}
		tell("a "+kind+" socket to the peer over "+family+": the own address", own, err)
		tell("a "+kind+" socket to the peer over "+family+": the MTU", size, err)
		if kind == "tcp" {
			tell("a tcp socket to the peer over "+family+": the segment size", segment, err)
		}
	}
}

func host(address net.Addr) string {
	name, _, _ := net.SplitHostPort(address.String())
	return name
}

func socketOption(flow net.Conn, level, option int) string {
	raw, err := flow.(syscall.Conn).SyscallConn()
	if err != nil {
		return said(err)
	}
	value := ""
	raw.Control(func(fd uintptr) {
		number, err := syscall.GetsockoptInt(int(fd), level, option)
		if value = count(number); err != nil {
			value = said(err)
		}
	})
	return value
}

func whence(family, address string) {
	client := http.Client{Timeout: patience}
	answer, err := client.Get("http://" + net.JoinHostPort(address, "8080") + "/whence")
	seen := map[string]string{}
	if err == nil {
		json.NewDecoder(answer.Body).Decode(&seen)
		answer.Body.Close()
	}
	tell("the source address that the peer sees: "+family, seen["peer"], err)
}

func refusals(peer string) {
	if peer == "" {
		peer = "0.0.0.1"
	}
	for label, where := range map[string]string{
		"a closed port of the peer": peer, "a closed port of localhost": "127.0.0.1", "a closed port of ::1": "::1",
		"255.255.255.255": "255.255.255.255", "a class E address": classE, "an address of documentation": nowhere, "an address of no route over IPv6": "fe80::1",
	} {
		wait := patience
		if where == nowhere || where == classE {
			wait = silence
		}
		flow, err := net.DialTimeout("tcp", net.JoinHostPort(where, "9"), wait)
		if err == nil {
			flow.Close()
		}
		outcome("to connect: "+label, err)
	}
	flow, err := net.Dial("udp", net.JoinHostPort(peer, "9"))
	if err == nil {
		flow.SetDeadline(time.Now().Add(patience))
		flow.Write([]byte("x"))
		_, err = flow.Read(make([]byte, 1))
		flow.Close()
	}
	outcome("a datagram to a closed port of the peer", err)
}

func binding() {
	for _, where := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0", nowhere + ":0", "0.0.0.0:80"} {
		listener, err := net.Listen("tcp", where)
		if err == nil {
			listener.Close()
		}
		outcome("to listen: "+where, err)
	}
	own, _ := os.Hostname()
	listener, err := net.Listen("tcp", net.JoinHostPort(own, "0"))
	if err == nil {
		listener.Close()
	}
	outcome("to listen: the own host name", err)
	group, err := net.ListenMulticastUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 0})
	if err == nil {
		group.Close()
	}
	outcome("to join a multicast group", err)
}

func sockets() {
	for _, each := range []struct {
		label                  string
		family, kind, protocol int
	}{
		{"a socket for ping", syscall.AF_INET, syscall.SOCK_DGRAM, syscall.IPPROTO_ICMP},
		{"a raw socket", syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP},
		{"a packet socket", syscall.AF_PACKET, syscall.SOCK_RAW, 0},
		{"a socket of SCTP", syscall.AF_INET, syscall.SOCK_STREAM, sctp},
		{"a netlink socket", syscall.AF_NETLINK, syscall.SOCK_RAW, syscall.NETLINK_ROUTE},
		{"a Unix socket", syscall.AF_UNIX, syscall.SOCK_STREAM, 0},
	} {
		fd, err := syscall.Socket(each.family, each.kind, each.protocol)
		if err == nil {
			syscall.Close(fd)
		}
		outcome("to open: "+each.label, err)
	}
	for label, kind := range map[string]int{"tcp": syscall.SOCK_STREAM, "udp": syscall.SOCK_DGRAM} {
		fd, err := syscall.Socket(syscall.AF_INET, kind, 0)
		for name, option := range map[string]int{"receive": syscall.SO_RCVBUF, "send": syscall.SO_SNDBUF} {
			size := 0
			if err == nil {
				size, err = syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, option)
			}
			tell("a new "+label+" socket: the "+name+" buffer", count(size), err)
		}
		syscall.Close(fd)
	}
}

// api asks the API server as in-cluster clients do.
func api() {
	authority, err := content(account + "ca.crt")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authority))
	token, _ := content(account + "token")
	namespace, _ := content(account + "namespace")
	client := http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for _, path := range []string{"/version", "/api/v1/namespaces/" + namespace + "/secrets"} {
		question := "the API server's word: " + strings.ReplaceAll(path, namespace, "NAMESPACE")
		if err != nil {
			tell(question, "", err)
			continue
		}
		request, _ := http.NewRequest("GET", "https://kubernetes.default.svc"+path, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		answer, failed := client.Do(request)
		if failed != nil {
			tell(question, "", failed)
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		told := struct{ Message string }{}
		json.Unmarshal(body, &told)
		tell(question, answer.Status+" "+told.Message, nil)
	}
}
