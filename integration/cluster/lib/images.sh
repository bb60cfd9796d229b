# Images without a registry: built by buildah, kept as docker-archives, imported on the nodes.
# shellcheck shell=bash

# overlay and chroot work without fuse and without a user's session, as in a CI container
export STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot

base_image=docker.io/library/python:3.11-slim

save_image() { # save_image TAG FILE
    rm -f "$2.new"
    buildah push -q "$1" "docker-archive:$2.new:$1"
    mv "$2.new" "$2"
}

# image_of_one_file TAG FILE: an image that holds nothing but a static binary.
image_of_one_file() {
    local context
    context=$(mktemp -d)
    cp "$2" "$context/program"
    printf 'FROM scratch\nCOPY program /%s\nENTRYPOINT ["/%s"]\n' "${2##*/}" "${2##*/}" >"$context/Dockerfile"
    buildah bud -q -t "$1" "$context" >/dev/null
    rm -rf "$context"
}

make_system_images() {
    local name
    for name in pause coredns; do
        [ ! -s "$images/$name.tar" ] || continue
        image_of_one_file "localhost/$name:1" "$bin/$name"
        save_image "localhost/$name:1" "$images/$name.tar"
    done
}

# Stands in for the python image of an image registry: Debian's own python3, under the name that the FROM
# line of a Dockerfile asks for.
make_python_image() {
    local context
    mkdir -p "$images"
    if [ -s "$images/python.tar" ]; then
        buildah inspect "$base_image" >/dev/null 2>&1 || buildah pull -q "docker-archive:$images/python.tar" >/dev/null
        return
    fi
    say "making the base image $base_image with debootstrap (a minute or two)"
    context=$(mktemp -d)
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,busybox-static \
        bookworm "$context/root" >"$cache/debootstrap.log" 2>&1
    rm -rf "$context"/root/var/{cache/apt,lib/apt/lists}
    ln -sf python3 "$context/root/usr/bin/python"
    tar -C "$context/root" -cf "$context/root.tar" .
    printf 'FROM scratch\nADD root.tar /\nENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\nCMD ["python3"]\n' \
        >"$context/Dockerfile"
    buildah bud -q -t "$base_image" "$context" >/dev/null
    rm -rf "$context"
    save_image "$base_image" "$images/python.tar"
}

# pip inside a build has the settings of pip outside: the variables as build arguments, the files that they
# name at the same paths.
build_image() { # build_image TAG DOCKERFILE CONTEXT [buildah arguments]
    local tag=$1 dockerfile=$2 context=$3 name value arguments=()
    shift 3
    for name in PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_TRUSTED_HOST; do
        value=${!name:-}
        [ -n "$value" ] || continue
        arguments+=(--build-arg "$name=$value")
        [ -d "$value" ] && arguments+=(-v "$value:$value:ro")
        [ -f "$value" ] && arguments+=(-v "$(dirname "$(readlink -f "$value")"):$(dirname "$value"):ro")
    done
    buildah bud --network host --layers "${arguments[@]}" "$@" -f "$dockerfile" -t "$tag" "$context"
}

ctr_on() { # ctr_on NODE ARGUMENTS...
    local n=$1
    shift
    ctr -a "$state/node$n/containerd.sock" -n k8s.io "$@"
}

load_on() { # load_on NODE FILE...: what this node already imported, by time and size, is skipped
    local n=$1 file stamp mark
    shift
    for file; do
        stamp=$(stat -c '%Y-%s' "$file")
        mark=$(containerd_root "$n")/.loaded-${file##*/}
        [ "$(cat "$mark" 2>/dev/null)" = "$stamp" ] && continue
        ctr_on "$n" images import "$file" >/dev/null
        echo "$stamp" >"$mark"
    done
}
