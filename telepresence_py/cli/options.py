"""What stands on the command line, as values. Pure: each function takes a word, and raises BadUsage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from telepresence_py.model.errors import BadUsage
from telepresence_py.model.image import is_reference
from telepresence_py.model.intent import PortOverride, is_header_value
from telepresence_py.model.network import PROTOCOLS, port_word

DEFAULT_KIND = "deployment"
CONNECT = ("truthful", "fast")
MIN_GRACE_SECONDS, MAX_GRACE_SECONDS = 1.0, 24 * 3600.0

_KINDS = {
    "deployment": ("deploy", "deployments"),
    "statefulset": ("sts", "statefulsets"),
    "daemonset": ("ds", "daemonsets"),
    "replicaset": ("rs", "replicasets"),
    "replicationcontroller": ("rc", "replicationcontrollers"),
    "rollout": ("ro", "rollouts"),
    "pod": ("po", "pods"),
    "job": ("jobs",),
    "cronjob": ("cj", "cronjobs"),
    "service": ("svc", "services"),
}
_SINGULAR = {alias: kind for kind, aliases in _KINDS.items() for alias in (kind, *aliases)}
_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_PLATFORMS = tuple(f"linux/{name}" for name in ("amd64", "arm64", "ppc64le", "riscv64", "s390x"))
_ARCHITECTURE = re.compile(r"(amd64|arm64|arm|386|ppc64le|riscv64|s390x)(/v[0-9]+)?")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9.-]+)?")  # with its API group, or without
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True)
class Target:
    """`KIND/NAME[:CONTAINER]`; `kind` is lower case and singular where it is one that we know."""

    kind: str
    name: str
    container: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def parse_target(word: str) -> Target:
    """`deploy/orders:app`, `deployments.apps/orders`, `orders`. The kind may be left out for a deployment."""
    workload, colon, container = word.partition(":")
    kind, slash, name = workload.rpartition("/")
    if (slash and not _KIND.fullmatch(kind)) or (colon and not container):
        raise BadUsage(
            f"{word!r} does not name a workload; write KIND/NAME or KIND/NAME:CONTAINER, and your command "
            "behind a --"
        )
    if not _NAME.fullmatch(name) or (container and not _NAME.fullmatch(container)):
        raise BadUsage(
            f"{word!r} does not name a workload: names in Kubernetes are made of lower-case letters, digits, "
            "'-' and '.'; write KIND/NAME or KIND/NAME:CONTAINER"
        )
    return Target(_singular(kind) if kind else DEFAULT_KIND, name, container or None)


def parse_port(word: str, option: str = "-p") -> PortOverride:
    """`8080` is the same port on both sides, `8081:8080` is laptop port 8081 for pod port 8080; a `/udp`
    behind makes them UDP ports."""
    ports, slash, protocol = word.partition("/")
    numbers = ports.split(":")
    if len(numbers) > 2:
        raise BadUsage(
            f"{option} {word}: write LOCAL or LOCAL:POD, for example {option} 8081:8080, with /udp behind "
            "it for UDP"
        )
    if slash and protocol.upper() not in PROTOCOLS:
        meant = nearest(protocol.lower(), map(str.lower, PROTOCOLS))
        hint = f"did you mean {ports}/{meant}?" if meant else f"write {ports} for TCP or {ports}/udp"
        raise BadUsage(f"{option} {word}: {protocol!r} is no protocol that can be served; {hint}")
    laptop_port, pod_port = (port_number(f"{option} {word}", number) for number in (numbers[0], numbers[-1]))
    return PortOverride(laptop_port, pod_port, protocol.upper() or PROTOCOLS[0])


def parse_ports(words: Iterable[str], option: str = "-p") -> tuple[PortOverride, ...]:
    """All words of that option; no pod port may be given twice for one protocol."""
    by_pod_port: dict[tuple[int, str], PortOverride] = {}
    for one in (parse_port(word, option) for word in words):
        if by_pod_port.setdefault((one.pod_port, one.protocol), one) != one:
            raise BadUsage(
                f"{option} says twice where what comes to port {port_word(one.pod_port, one.protocol)} of "
                "the pod shall go"
            )
    return tuple(by_pod_port.values())


def parse_name(option: str, word: str) -> str:
    """A name that a Service may have, too: a DNS label of RFC 1035."""
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", word):
        raise BadUsage(
            f"{option}: {word!r} is no name for a pod and a Service: write at most 63 lower-case letters, "
            "digits and '-', beginning with a letter"
        )
    return word


def parse_duration(word: str) -> float:
    """Seconds of `30s`, `2m`, `1h30m`, `500ms`, or of a bare number."""
    if re.fullmatch(r"\d+(\.\d+)?", word):
        return float(word)
    parts = _DURATION_PART.findall(word)
    if not parts or "".join(number + unit for number, unit in parts) != word:
        raise BadUsage(f"{word!r} is not a duration; write for example 30s, 2m or 1h30m")
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts)


def parse_grace(word: str) -> float:
    """Seconds for `--grace`: a sidecar needs some to be found, and may hold the workload for all of them."""
    seconds = parse_duration(word)
    if not MIN_GRACE_SECONDS <= seconds <= MAX_GRACE_SECONDS:
        raise BadUsage(f"--grace {word}: write a time from {MIN_GRACE_SECONDS:g} s to 24 h, for example 30s")
    return seconds


def parse_connect(word: str) -> str:
    """`truthful` or `fast`."""
    if word not in CONNECT:
        meant = nearest(word, CONNECT)
        hint = f"did you mean {meant!r}?" if meant else f"write {' or '.join(CONNECT)}"
        raise BadUsage(f"--connect: there is no way {word!r} to connect; {hint}")
    return word


def check_identity(user: str | None, groups: Iterable[str]) -> None:
    """`--as` and `--as-group` become headers of requests, in which nothing else may be smuggled."""
    for option, words in (("--as", [] if user is None else [user]), ("--as-group", list(groups))):
        for word in words:
            if not word or not is_header_value(word):
                raise BadUsage(f"{option} {word!r} is not a name: it is empty or has a control character")
            if user is None:
                raise BadUsage(f"{option} {word} needs --as USER too")


def parse_namespace(word: str) -> str:
    """A name that a namespace may have: a DNS label (RFC 1123)."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", word):
        raise BadUsage(
            f"--namespace: {word!r} is no name of a namespace, which has up to 63 lower-case letters, "
            "digits and '-'; leave the option out for the context's own"
        )
    return word


def parse_image(word: str) -> str:
    """The reference of an image as a container runtime takes it."""
    if not is_reference(word):
        raise BadUsage(
            f"--image: {word!r} does not name an image; write for example registry.example/name:tag"
        )
    return word


def parse_platforms(word: str) -> tuple[str, ...]:
    """`linux/amd64,linux/arm64` or one of them, as container tools name platforms (OCI image index)."""
    platforms = tuple(dict.fromkeys(filter(None, word.split(","))))
    for platform in platforms:
        system, _slash, architecture = platform.partition("/")
        if system != "linux" or not _ARCHITECTURE.fullmatch(architecture):
            meant = nearest(platform, _PLATFORMS)
            hint = f"did you mean {meant!r}?" if meant else "write for example linux/amd64 or linux/arm64"
            raise BadUsage(f"--platform: {platform!r} is no platform of Linux nodes; {hint}")
    if not platforms:
        raise BadUsage("--platform: write for example linux/amd64, or several with commas between")
    return platforms


def port_number(given: str, number: str) -> int:
    """`given` is what the user wrote, for the sentence."""
    if not re.fullmatch(r"[0-9]{1,5}", number) or not 0 < int(number) < 65536:
        raise BadUsage(f"{given}: {number!r} is not a port; ports are numbers from 1 to 65535")
    return int(number)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, sorted(known), n=1, cutoff=0.6)), None)


def hint(word: str, known: Collection[str], all_of_them: str = "") -> str:
    """The end of a sentence on a word that is none of the known: the one that was probably meant, or all of
    them, in words of the caller's if need be."""
    if meant := nearest(word, known):
        return f"did you mean {meant!r}?"
    *others, last = known
    return all_of_them or (f"there are {', '.join(others)} and {last}" if others else f"there is {last}")


def _singular(word: str) -> str:
    """A kind that we do not know may be somebody's custom resource: the session says what can be swapped."""
    kind = word.lower().partition(".")[0]
    if kind in _SINGULAR:
        return _SINGULAR[kind]
    if (meant := nearest(kind, [known for known in _SINGULAR if len(known) > 3])) is not None:
        raise BadUsage(f"there is no kind {word!r}; did you mean {_SINGULAR[meant]!r}?")
    return kind
