"""What is tried on every way, the figures that come of it, and what they are to reach (PURE)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .asking import Answer
from .figures import NO_LIMIT, Figure, Limit, percentile
from .pods import ECHO, HTTP, SINK, SOURCE
from .ways import BESIDE, DIRECT, KUBECTL, LINK, OPENSSH, OURS, SSHFS, Way

RIVALS = {
    KUBECTL: "kubectl port-forward",
    OPENSSH: "ssh over kubectl",
    DIRECT: "no tunnel, on the node",
    LINK: "the link alone",
    BESIDE: "no tunnel, pod to pod",
    SSHFS: "sshfs over kubectl",
}


@dataclass(frozen=True)
class Scale:
    """How much is moved, and for how many seconds the rest goes on."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Metric:
    """One figure of an answer. With `per` it is processor seconds, for so much work as that tells."""

    name: str
    unit: str
    of: Callable[[Answer], float]
    per: Callable[[Answer], float] | None = None


@dataclass(frozen=True)
class Trial:
    """An order to a load client, for a port of the pod."""

    do: str
    port: int
    order: Mapping[str, object]
    metrics: tuple[Metric, ...]
    bulk_port: int = 0

    def run(self, way: Way) -> dict[Metric, float]:
        """Failed when it could not be done."""
        order = dict(self.order)
        if self.bulk_port:
            order["bulk_port"] = way.ports[self.bulk_port]
        before = way.used().seconds
        answer = way.ask(self.do, self.port, **order)
        taken = way.used().seconds - before
        return {
            each: taken / each.per(answer) if each.per else each.of(answer)
            for each in self.metrics
            if way.processes or not each.per
        }


def trials(scale: Scale) -> list[Trial]:
    return [
        *(bulk(do, streams, scale) for streams in (1, 8) for do in ("up", "down")),
        echo(scale),
        *(beside(direction, scale) for direction in ("up", "down")),
        *(connections(parallel, scale) for parallel in (1, 50)),
        requests(scale),
    ]


def trials_into(scale: Scale) -> list[Trial]:
    """What is asked of a server on the laptop."""
    return [
        *(bulk(do, 1, scale) for do in ("up", "down")),
        echo(scale),
        *(connections(parallel, scale) for parallel in (1, 50)),
        requests(scale),
    ]


def bulk(do: str, streams: int, scale: Scale) -> Trial:
    name = f"bulk {do}, {streams} stream{'s' if streams > 1 else ''}"
    rate = Metric(name, "MB/s", lambda answer: scale.size / 1e6 / answer["seconds"])
    cost = Metric(f"{name}: CPU per GB", "s", rate.of, lambda _: scale.size / 1e9)
    port = SINK if do == "up" else SOURCE
    return Trial(
        do, port, {"size": scale.size, "streams": streams}, (rate, cost) if streams == 1 else (rate,)
    )


def echo(scale: Scale) -> Trial:
    return Trial("echo", ECHO, {"seconds": scale.seconds}, (*_round_trips("echo"),))


def beside(direction: str, scale: Scale) -> Trial:
    name = f"echo beside bulk {direction}"
    rate = Metric(f"bulk {direction} beside echo", "MB/s", lambda answer: answer["rate"] / 1e6)
    return Trial(
        "echo",
        ECHO,
        {"seconds": scale.seconds, "beside": direction},
        (*_round_trips(name), rate),
        SINK if direction == "up" else SOURCE,
    )


def connections(parallel: int, scale: Scale) -> Trial:
    name = f"new connection + echo, {'one after another' if parallel == 1 else f'{parallel} at once'}"
    rate = Metric(name, "1/s", lambda answer: answer["rate"])
    cost = Metric(f"{name}: CPU per 1000", "s", rate.of, lambda answer: len(answer["round_trips"]) / 1000)
    metrics = (rate, *_round_trips(name), *([cost] if parallel > 1 else []))
    return Trial("connections", ECHO, {"seconds": scale.seconds, "parallel": parallel}, metrics)


def requests(scale: Scale) -> Trial:
    rate = Metric("HTTP requests, 16 connections", "1/s", lambda answer: answer["rate"])
    return Trial("requests", HTTP, {"seconds": scale.seconds}, (rate,))


def _round_trips(name: str) -> Iterable[Metric]:
    for share, word in ((0.5, "p50"), (0.99, "p99")):

        def of(answer: Answer, share: float = share) -> float:
            return 1000 * percentile(answer["round_trips"], share)

        yield Metric(f"{name}, {word}", "ms", of)


def limits(round_trip: float) -> dict[tuple[str, str], Limit]:
    """By the metric's name and the rival. Between 0 and 50 ms what asks for less of the two."""
    near = round_trip == 0
    one, eight = (1.0, 1.0) if near else (1.5, 2.0) if round_trip >= 50 else (1.0, 1.0)
    found = {
        ("new connection + echo, one after another", KUBECTL): Limit(least_ratio=3.0 if near else 2.5),
        ("new connection + echo, 50 at once", KUBECTL): Limit(least_ratio=5.0 if round_trip >= 50 else 3.0),
    }
    for direction in ("up", "down"):
        found["bulk " + direction + ", 1 stream", KUBECTL] = Limit(least_ratio=one)
        found["bulk " + direction + ", 8 streams", KUBECTL] = Limit(least_ratio=eight)
        found[f"echo beside bulk {direction}, p99", KUBECTL] = Limit(most_ratio=0.5)
    if near:
        found["echo, p50", KUBECTL] = Limit(most_ratio=0.8)
    else:
        found["echo, p50", LINK] = Limit(most_ratio=1.02)
    return found


def session_limits(round_trip: float, connect: str) -> dict[tuple[str, str], Limit]:
    """Of what a session's command asks. A connect() that tells the truth costs it one round trip."""
    if round_trip < 50:
        return {}
    least = 1.4 if connect == "truthful" else 2.5
    return {("new connection + echo, one after another", KUBECTL): Limit(least_ratio=least)}


@dataclass
class Samples:
    """Of one round trip: for each metric, for each way, a value for each round, or why there is none."""

    values: dict[str, dict[str, list[float | str]]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, metric: Metric, way: str, value: float | str) -> None:
        self.units[metric.name] = metric.unit
        self.values.setdefault(metric.name, {}).setdefault(way, []).append(value)

    def figures(
        self, group: str, limits: Mapping[tuple[str, str], Limit] | None = None, way: str = OURS
    ) -> list[Figure]:
        """One for each metric and rival of that way, of rounds in which both could be measured. Who never
        could be has one row for all."""
        if reason := self._never(way):
            return [Figure("all of it", "", group=group, failed=reason)]
        absent = {rival: reason for rival in RIVALS if (reason := self._never(rival))}
        found = [
            Figure("all of it", "", rival=RIVALS[rival], group=group, failed=reason)
            for rival, reason in absent.items()
        ]
        for name, by_way in self.values.items():
            ours = by_way.get(way, [])
            for rival in [each for each in by_way if each in RIVALS and each not in absent] or [""]:
                theirs = by_way[rival] if rival else ours
                figure = Figure(name, self.units[name], rival=RIVALS.get(rival, ""), group=group)
                found.append(_filled(figure, ours, theirs, (limits or {}).get((name, rival), NO_LIMIT)))
        return found

    def _never(self, way: str) -> str:
        """Why that way has no value at all, or nothing when it has one, or was not tried."""
        values = [value for by_way in self.values.values() for value in by_way.get(way, [])]
        return "" if any(not isinstance(each, str) for each in values) else str(next(iter(values), ""))


def _filled(
    figure: Figure, ours: Sequence[float | str], theirs: Sequence[float | str], limit: Limit
) -> Figure:
    pairs = list(zip(ours, theirs, strict=False))
    both = [(a, b) for a, b in pairs if not isinstance(a, str) and not isinstance(b, str)]
    why = next((each for pair in pairs for each in pair if isinstance(each, str)), "no round was measured")
    return replace(
        figure,
        ours=tuple(a for a, _ in both),
        theirs=tuple(b for _, b in both) if figure.rival else (),
        limit=limit,
        failed="" if both else why,
    )
