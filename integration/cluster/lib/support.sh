# Saying, waiting, locking, and daemons with a log and a pid file.
# shellcheck shell=bash

say() { echo "cluster: $*" >&2; }
die() { say "$*"; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "needs root: it makes network namespaces and runs containers"; }

# Two locks, as `up` prepares: descriptors 8 and 9 of this process, released when it ends.
lock_cluster() { take_lock 8 "$cache/lock-up$suffix"; }
lock_cache() { take_lock 9 "$cache/lock"; }

take_lock() { # take_lock DESCRIPTOR FILE
    mkdir -p "$cache"
    eval "exec $1>\"\$2\""
    flock -n "$1" || { say "waiting for another run of this script"; flock "$1"; }
}

# wait_until SECONDS WHAT COMMAND...: run COMMAND until it succeeds.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || die "gave up waiting for $what; logs: $state/log"
        sleep 0.1
    done
}

# Whether a pid is still that daemon of ours, all of which are told a path in our state.
alive() { grep -qsF "$state/" "/proc/$1/cmdline"; }

all_daemons_alive() {
    local file
    for file in "$state"/pid/*; do alive "$(cat "$file")" || return 1; done
}

# spawn NAME COMMAND...: a daemon, which must not keep the locks of the run that started it.
spawn() {
    local name=$1
    shift
    setsid "$@" >"$state/log/$name.log" 2>&1 </dev/null 8>&- 9>&- &
    echo $! >"$state/pid/$name"
}

# end NAME: SIGTERM to a daemon, and SIGKILL when it is still there five seconds later.
end() {
    local pid deadline=$((SECONDS + 5))
    pid=$(cat "$state/pid/$1")
    kill "$pid" 2>/dev/null || true
    while alive "$pid"; do
        [ "$SECONDS" -lt "$deadline" ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.05
    done
}

kubectl() { "$bin/kubectl" --kubeconfig "$kubeconfig" "$@"; }
