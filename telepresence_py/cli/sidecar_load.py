"""`sidecar load`: the image on the nodes of a cluster on this machine, without a registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telepresence_py.cli.builder import Said, ask_tool, run_tool
from telepresence_py.cli.load_target import (
    CONTAINERD,
    CONTAINERD_SOCKET,
    FORMS,
    KUBELET_SOCKETS,
    MICROK8S_SOCKET,
    PROJECT,
    LoadTarget,
    choose_name,
    choose_socket,
    target_of_context,
)
from telepresence_py.cli.render import Screen
from telepresence_py.cli.sidecar_image import image_here, this_platform, write_archive
from telepresence_py.cluster.kubeconfig import context_name
from telepresence_py.model.errors import BadUsage, ClusterUnreachable, PreconditionFailed
from telepresence_py.model.events import Level
from telepresence_py.model.intent import ClusterChoice

_PROJECT_DIRECTORIES = "telepresence-py-cluster*"
_PROJECT_SOCKETS = f"{_PROJECT_DIRECTORIES}/node*/containerd.sock"
_RUN = Path("/run")
_K3D_TROUBLE = re.compile(r"^(ERRO|FATA)\b|level=(error|fatal)")


@dataclass(frozen=True)
class Step:
    """Loading into one place; `check` raises PreconditionFailed when a success of the command was none."""

    where: str
    command: Callable[[Path], list[str]]
    check: Callable[[Path, Said], None] = lambda _archive, _said: None


def find_target(choice: ClusterChoice) -> LoadTarget:
    """Where the chosen context's cluster is; without any kubeconfig this project's own, if it is up."""
    try:
        context = context_name(choice)
    except ClusterUnreachable:
        if sorted(_RUN.glob(_PROJECT_SOCKETS)):
            return LoadTarget(PROJECT)
        raise
    target = target_of_context(context)
    with suppress(PreconditionFailed):  # no minikube, or none that could have a say
        if target is None and context in _minikube_profiles():
            target = LoadTarget("minikube", context)
    if target is None:
        raise BadUsage(
            f"the name of context {context} does not tell of what kind its cluster is: say so by --to "
            f"{FORMS}, or push the image to a registry of the cluster's by telepresence-py sidecar push"
        )
    return target


def load_image(screen: Screen, reference: str, target: LoadTarget) -> None:
    """Put the image on every node; it is built first when it is this version's and not here.

    NamedObjectMissing or PreconditionFailed when tool, cluster, socket or right is missing: before anything
    is built.
    """
    steps = _steps(reference, target)
    builder = image_here(screen, reference, this_platform())
    done: list[str] = []
    with tempfile.TemporaryDirectory(prefix="telepresence-py-") as directory:
        archive = Path(directory, "image.tar")
        write_archive(screen, builder, reference, archive)
        for step in steps:
            screen.say(f"loading {reference} into {step.where}", Level.STEP)
            has_it = f" ({', '.join(done)} {'has' if len(done) == 1 else 'have'} it)" if done else ""
            said = run_tool(screen, step.command(archive), f"loading {reference} into {step.where}{has_it}")
            step.check(archive, said)
            done.append(step.where)
    screen.say(f"loaded {reference} into {', '.join(done)}", Level.NOTICE)


def _steps(reference: str, target: LoadTarget) -> list[Step]:
    match target.tool:
        case "kind":
            name = choose_name(target, _answer(["kind", "get", "clusters"]).split())
            load = ["kind", "load", "image-archive"]
            return [Step(f"kind:{name}", lambda archive: [*load, str(archive), "--name", name])]
        case "minikube":
            return [_minikube_step(reference, choose_name(target, _minikube_profiles()))]
        case "k3d":
            clusters = _json(["k3d", "cluster", "list", "-o", "json"])
            name = choose_name(target, [cluster["name"] for cluster in clusters or ()])
            load = ["k3d", "image", "import"]
            return [Step(f"k3d:{name}", lambda archive: [*load, str(archive), "-c", name], _check_k3d)]
        case _:
            return [_containerd_step(socket) for socket in _sockets(target)]


def _sockets(target: LoadTarget) -> list[Path]:
    project = sorted(_RUN.glob(_PROJECT_SOCKETS))
    if target.tool == CONTAINERD:
        candidates = {*KUBELET_SOCKETS, CONTAINERD_SOCKET, *([target.name] if target.name else [])}
        return [Path(choose_socket(target, list(filter(_may_be_socket, sorted(candidates)))))]
    if not project and any(_RUN.glob(_PROJECT_DIRECTORIES)):
        raise PreconditionFailed(
            "the nodes of this project's own cluster belong to root: run this command as root"
        )
    if not project:
        raise PreconditionFailed(
            "this project's own cluster is not up; start it by integration/cluster/cluster up, or say by "
            "--to of what kind yours is"
        )
    return project


def _may_be_socket(path: str) -> bool:
    """Also one in a directory that is closed to us, of which more cannot be said."""
    try:
        return Path(path).is_socket()
    except PermissionError:
        return True


def _containerd_step(socket: Path) -> Step:
    ctr = _ctr(socket)
    if not os.access(socket, os.W_OK):
        raise PreconditionFailed(
            f"{socket} belongs to root, whose storage of images is another than yours: first "
            f"telepresence-py sidecar save FILE, then sudo {' '.join(ctr)} images import FILE"
        )
    if shutil.which(ctr[0]) is None:
        raise PreconditionFailed(
            f"ctr, which speaks with {socket}, is not installed; it comes with containerd"
        )
    return Step(
        socket.parent.name if socket.match(_PROJECT_SOCKETS) else str(socket),
        lambda archive: [*ctr, "images", "import", str(archive)],
    )


def _ctr(socket: Path) -> list[str]:
    """containerd's own client, or the one that a distribution of Kubernetes brings along."""
    bundled = {KUBELET_SOCKETS[0]: "k3s", MICROK8S_SOCKET: "microk8s", KUBELET_SOCKETS[2]: "k0s"}
    program = bundled.get(str(socket))
    words = [program, "ctr"] if program is not None and shutil.which(program) else ["ctr"]
    return [*words, "-a", str(socket), "-n", "k8s.io"]


def _minikube_profiles() -> list[str]:
    listed = _json(["minikube", "profile", "list", "--light", "-o", "json"])
    return [profile["Name"] for profile in listed.get("valid") or ()]


def _minikube_step(reference: str, profile: str) -> Step:
    """minikube ends with success even when a node refused the image: so it is looked for afterwards."""

    def check(archive: Path, _said: Said) -> None:
        listed = _json(["minikube", "-p", profile, "image", "ls", "--format", "json"])
        wanted = _image_id(archive)
        if not any(
            row.get("id", "").removeprefix("sha256:") == wanted and reference in (row.get("repoTags") or ())
            for row in listed
        ):
            raise PreconditionFailed(
                f"minikube did not load {reference} into profile {profile} and does not say why: where a pod "
                f"uses another image of that name, end it, then minikube -p {profile} image rm {reference}"
            )

    return Step(
        f"minikube:{profile}",
        lambda archive: ["minikube", "-p", profile, "image", "load", str(archive)],
        check,
    )


def _check_k3d(_archive: Path, said: Said) -> None:
    """k3d ends with success even when a node refused the image: so what it says is read."""
    for line in said.lines:
        if _K3D_TROUBLE.search(line):
            raise PreconditionFailed(f"k3d did not load the image into every node: {line}")


def _image_id(archive: Path) -> str:
    """The digest of the image's configuration, by which runtimes know it."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        (entry,) = json.load(manifest)
    return str(entry["Config"]).rpartition("/")[2].removesuffix(".json")


def _json(command: Sequence[str]) -> Any:
    answer = _answer(command)
    try:
        return json.loads(answer)
    except ValueError as error:
        raise PreconditionFailed(f"{' '.join(command)} answers what is no JSON: {answer[:200]!r}") from error


def _answer(command: Sequence[str]) -> str:
    """What a cluster tool prints; PreconditionFailed when it is not installed or fails."""
    if shutil.which(command[0]) is None:
        raise PreconditionFailed(f"{command[0]} is not installed, or not on the PATH")
    said = ask_tool(command)
    if said.code != 0:
        last = said.lines[-1] if said.lines else f"code {said.code}"
        raise PreconditionFailed(f"{' '.join(command)} failed: {last}")
    return said.text
