package main

import (
	"context"
	"net"
	"os"
	"strings"
	"time"
)

func askNames(peer string) {
	own, err := os.Hostname()
	tell("the host name", own, err)
	for _, path := range []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services"} {
		read, err := content(path)
		tell(path, read, err)
	}
	places := map[string]string{own: "the own host name"}
	for _, name := range []string{
		own, "localhost", "ip6-localhost", peer, "peer", "peer.", "kubernetes.default", "kubernetes.default.svc.cluster.local.",
		"alias.of.target", "nobody-has-this-name", "nobody.has.this.name.example.",
	} {
		label := name
		if places[name] != "" {
			label = places[name]
		}
		found, err := addressesOf(name)
		tell("addresses in order: "+label, strings.Join(found, " "), err)
	}
	reverse(peer, own)
	alias, err := net.LookupCNAME("peer")
	tell("the full name of peer", alias, err)
	_, records, err := net.LookupSRV("tcp-8080", "tcp", peer)
	tell("how many SRV records of "+peer, count(len(records)), err)
	text, err := net.LookupTXT("dns-version.cluster.local")
	tell("the TXT record of dns-version.cluster.local", strings.Join(text, " "), err)
}

func addressesOf(name string) ([]string, error) {
	patience, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupIPAddr(patience, name)
	words := []string{}
	for _, one := range found {
		words = append(words, one.String())
	}
	return words, err
}

func reverse(peer, own string) {
	asked := map[string]string{"127.0.0.1": "127.0.0.1", "192.0.2.123": "192.0.2.123", "10.9.8.7": "10.9.8.7"}
	for label, name := range map[string]string{"the peer": peer, "the own address": own} {
		if found, err := addressesOf(name); err == nil && len(found) > 0 {
			asked[label] = found[0]
		}
	}
	for _, label := range []string{"127.0.0.1", "192.0.2.123", "10.9.8.7", "the peer", "the own address"} {
		names, err := net.LookupAddr(asked[label])
		tell("names of an address: "+label, sorted(names), err)
	}
}
