"""What a program may notice: which answers of the survey may differ between pod and command, and why.

Whatever is not here must be the same. `unexplained` says what contradicts the list; `report` is for
docs/conformance.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from integration.probe.surveying import Answers, Surveyed
from integration.probe.town import SERVICE_ACCOUNT

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
BEGIN, END = "<!-- differences: written by a test -->", "<!-- end of differences -->"
LONGEST = 60
"""Characters of an answer that is shown."""


@dataclass(frozen=True)
class Difference:
    """`asked` are patterns of questions, as of fnmatch(3). With `laptops` the command is told what any
    program of the laptop is told; else something of its own. Answers that another machine would give
    otherwise are not `shown`."""

    asked: tuple[str, ...]
    why: str
    laptops: bool = False
    shown: bool = True

    def is_about(self, question: str) -> bool:
        return any(fnmatchcase(question, pattern) for pattern in self.asked)


def laptops(why: str, *asked: str, shown: bool = False) -> Difference:
    return Difference(asked, why, laptops=True, shown=shown)


def own(why: str, *asked: str, shown: bool = True) -> Difference:
    return Difference(asked, why, shown=shown)


DIFFERENCES = (
    laptops(
        "they describe the machine on which a program runs (docs/environment.md)",
        "variable HOME",
        "variable PATH",
        "variable PYTHONPATH",
    ),
    laptops(
        "it is a process of the laptop: started there, by its user, with its rights and limits",
        "/proc/self/status: Uid",
        "/proc/self/status: Gid",
        "/proc/self/status: Groups",
        "/proc/self/status: Umask",
        "/proc/self/status: NoNewPrivs",
        "/proc/self/status: Seccomp",
        "/proc/self/status: Cpus_allowed_list",
        "/proc/self/status: SigBlk",
        "/proc/self/status: SigIgn",
        "limit: *",
        "the working directory",
        "the user's name",
        "the priority",
        "oom_score_adj",
    ),
    laptops(
        "it is not in the pod's cgroup: limits of the container neither hold for it nor are to be read, "
        "so a runtime sizes its heap and its threads by the laptop",
        "/proc/self/cgroup: the paths",
        "/sys/fs/cgroup: the * limit",
        "/proc/meminfo: MemTotal",
        "/proc/cpuinfo: processors",
    ),
    laptops(
        "the kernel is the laptop's; in this comparison it is the nodes', too",
        "uname: *",
        "sysctl: kernel.*",
        "sysctl: fs.*",
        "sysctl: vm.*",
        "to open: a socket of SCTP",
    ),
    laptops(
        "the root file system is the laptop's: a pod has the files and devices of image and runtime",
        "/etc/services",
        "/etc/gai.conf",
        "/etc/machine-id",
        "/etc/os-release",
        "/etc/passwd",
        "/etc/group",
        "/etc/timezone",
        "/etc/localtime",
        "/proc: the mount",
        "/sys: the mount",
        "/dev: the mount",
        "/dev/*: the mount",
        "/sys/fs/cgroup: the mount",
        "/tmp: the mode",
        "/dev/fuse: the mode",
        "/dev/net/tun: the mode",
        "/dev/shm: *",
        "names in /dev",
    ),
    laptops(
        "the runtime makes this file for a container, and reads it at the end; nobody would read it here",
        "/dev/termination-log: the mode",
        "to open for writing: /dev/termination-log",
    ),
    own(
        "the laptop's own, in which the paths of the pod's volumes are mounted, for this command alone",
        "/: the mount",
        "/tmp: the mount",
        "names in /",
        "to open for writing: /by-the-survey",
        shown=False,
    ),
    own(
        "the laptop's, but for the line on hosts, which asks the pod's files and name servers alone",
        "/etc/nsswitch.conf",
        shown=False,
    ),
    own(
        "user namespaces bound what it can do, not a set that the runtime cuts down",
        "/proc/self/status: CapBnd",
    ),
    own(
        "the terminal's session began outside of the session's process namespace",
        "the session's leader",
    ),
    own("it counts for the session's own user namespace", "sysctl: user.max_user_namespaces", shown=False),
    own(
        "every address leads into the session, so that all of TCP and UDP is caught: there is no network "
        "beside the own address, and routes are not the node's",
        "eth0: the addresses",
        "the devices and prefixes of routes: *",
        "to listen: 192.0.2.1:0",
    ),
    own(
        "between the command and the session packets pass a loopback device; the pod's MTU holds from the "
        "pod on",
        "a * socket to the peer over *: the MTU",
        "a tcp socket to the peer over *: the segment size",
    ),
    own(
        "ports below 1024 and ping of oneself are allowed, as a container of root's may have them",
        "to listen: 0.0.0.0:80",
        "sysctl: net.ipv4.ip_unprivileged_port_start",
    ),
    own(
        "as above; the groups are those of the user",
        "sysctl: net.ipv4.ping_group_range",
        "to open: a socket for ping",
        shown=False,
    ),
    own(
        "copies are in memory, other volumes come over FUSE; in them no program is set-uid, no file a device",
        "/*: the mount's file system",
        "/*: the mount's options",
        "/*: the type by statfs",
        shown=False,
    ),
    own(
        "nobody of the pod's users is known on the laptop: files are shown as the user's own, and the pod's "
        "rights decide on reading and writing",
        "/*: the owner",
        "/*: the group",
        shown=False,
    ),
    own(
        "the bits of the mount's own directory are not copied; nothing can be made in it either way",
        *(
            f"{path}: the mode"
            for path in (
                "/etc/target/config",
                "/run/secrets/target",
                "/etc/target/pod",
                "/opt/target/all",
                SERVICE_ACCOUNT,
            )
        ),
    ),
    own(
        "live volumes have no request for it; programs go on without, as on many file systems",
        "in a volume: fallocate",
        "in a volume: setxattr",
        "in a volume: to exchange two names",
        "in a volume: a file without a name",
        "in a volume: what stat says of it",
    ),
    own("root is nobody in the session's user namespace", "in a volume: chown to root"),
)


def differing(pod: Answers, child: Answers) -> list[str]:
    """The questions that the pod was asked and the command answers otherwise, in their order."""
    return [question for question in pod if child.get(question) != pod[question]]


def listed(question: str) -> Difference | None:
    return next((each for each in DIFFERENCES if each.is_about(question)), None)


def unexplained(seen: Surveyed) -> list[str]:
    """A line for each contradiction between the answers and the list: none where all is well."""
    found = []
    for question in dict.fromkeys((*seen.pod, *seen.child)):
        pod, child, laptop = (each.get(question) for each in (seen.pod, seen.child, seen.laptop))
        known = listed(question)
        is_the_laptops = known is not None and known.laptops
        if question not in seen.pod and question.startswith("variable "):
            is_the_laptops, known = True, known or own("the laptop's variables are there besides")
        if is_the_laptops and child != laptop:
            found.append(f"{question}: not the laptop's {laptop!r}, but {child!r}")
        elif known is None and child != pod:
            found.append(f"{question}: {pod!r} in the pod, {child!r} in the command")
    gone = differing(seen.pod, seen.child)
    for difference in DIFFERENCES:
        asked = seen.pod if difference.laptops else gone
        for pattern in difference.asked:
            if not any(fnmatchcase(question, pattern) for question in asked):
                found.append(f"{pattern}: listed, and no such answer differs")
    return found


def report(seen: Surveyed) -> str:
    """The section of the document."""
    alike = sorted(question for question in seen.pod if listed(question) is None)
    rows = [row for each in DIFFERENCES for row in _rows(each, seen)]
    lines = [
        BEGIN,
        f"Of {len(seen.pod)} questions {len(alike)} must have, and have, one answer in both places, but for "
        "the name and addresses that each pod has of its own:",
        "",
        *(f"- {line}" for line in _folded(alike)),
        "",
        "These may differ:",
        "",
        "| asked | in the pod | in the command | why |",
        "|---|---|---|---|",
        *rows,
        END,
    ]
    return "\n".join(lines)


def _rows(difference: Difference, seen: Surveyed) -> list[str]:
    """One for each question whose answers are shown, one for all of the others."""
    about = sorted(question for question in seen.pod if listed(question) is difference)
    if difference.shown and not difference.laptops:
        about = [question for question in about if seen.child.get(question) != seen.pod[question]]
        alike: dict[tuple[str, str], list[str]] = {}
        for question in about:
            both = _cell(seen.pod[question]), _cell(seen.child.get(question, ""))
            alike.setdefault(both, []).append(question)
        return [
            f"| {_asked(some)} | {pod} | {child} | {difference.why} |" for (pod, child), some in alike.items()
        ]
    child = "the laptop's" if difference.laptops else "its own"
    return [f"| {_asked(about)} | the pod's | {child} | {difference.why} |"]


def _asked(questions: list[str]) -> str:
    return "; ".join(_folded(questions))


def _cell(answer: str) -> str:
    text = " ".join(answer.split()).replace("|", "\\|")
    return f"`{text[:LONGEST]}`" if text else "nothing"


def _folded(questions: Iterable[str]) -> list[str]:
    """Those that begin alike in one line, as `/etc/hosts: the mode, the owner`."""
    folds: dict[str, list[str]] = {}
    for question in questions:
        head, colon, rest = question.partition(": ")
        if not colon:
            word, _, rest = question.partition(" ")
            head = "variables" if word == "variable" else ""
        folds.setdefault(head, []).append(rest if head else question)
    heads_of: dict[tuple[str, ...], list[str]] = {}
    for head, rests in folds.items():
        heads_of.setdefault(tuple(rests), []).append(head)
    lines = []
    for each_rest, heads in heads_of.items():
        named = ", ".join(f"`{head}`" if head.startswith("/") else head for head in heads)
        said = ", ".join(each_rest)
        lines.append(f"{named}: {said}" if named else said)
    return lines


def written() -> str:
    """What stands in the document now, with the marks around it."""
    text = DOCUMENT.read_text()
    return text[text.index(BEGIN) : text.index(END) + len(END)]


def write(section: str) -> None:
    DOCUMENT.write_text(DOCUMENT.read_text().replace(written(), section))
