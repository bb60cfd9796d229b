#!/bin/sh
# The probe for programs that are nothing but a shell and curl: says what it sees, one fact a line.
#   probe.sh URL FILE VARIABLE
set -u
echo "hostname=$(cat /etc/hostname)"
echo "answer=$(curl --silent --show-error --max-time 10 "$1" | tr -d '\n')"
echo "file=$(cat "$2")"
eval "echo \"variable=\$$3\""
echo "nameserver=$(sed -n 's/^nameserver //p' /etc/resolv.conf | head -1)"
