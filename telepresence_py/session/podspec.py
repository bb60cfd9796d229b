"""PURE: what a pod template tells a swap: container, ports, mounts, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.names import suggestion
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import PortOverride
from telepresence_py.model.network import PROTOCOLS, Mount, PortMap, port_word

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
FIRST_OWN_PORT = 29022  # below the ephemeral range, where outgoing connections of other containers may sit
READ_ONLY_KINDS = frozenset({"configMap", "secret", "projected", "downwardAPI", "image"})

Port = tuple[int, str]
"""Number and protocol: a container may have both protocols on one number."""


@dataclass(frozen=True)
class ContainerChoice:
    """`reason` completes "container NAME, because ..."."""

    name: str
    reason: str


def choose_container(
    template: Json, services: Sequence[Json], asked: str | None, workload: str
) -> ContainerChoice:
    """The one asked for, else the default-container annotation's, else a Service's, else the first.

    NamedObjectMissing with the nearest name when there is none of the name asked for.
    """
    names = [container["name"] for container in template["spec"]["containers"]]
    if asked is not None:
        if asked not in names:
            raise NamedObjectMissing(
                f'the pods of {workload} have no container "{asked}"{suggestion(asked, names, "containers")}'
            )
        return ContainerChoice(asked, "it was named")
    if len(names) == 1:
        return ContainerChoice(names[0], "it is the only one")
    annotated = (template["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if annotated in names:
        return ContainerChoice(str(annotated), f"the annotation {DEFAULT_CONTAINER} names it")
    for service in services:
        for target in _targets(service):
            owner = _port_owner(template["spec"], *target)
            if owner is not None:
                return ContainerChoice(
                    owner, f"service {service['metadata']['name']} sends its traffic there"
                )
    return ContainerChoice(names[0], f"it is the first of {len(names)}")


def map_ports(
    template: Json, services: Sequence[Json], container: str, overrides: Sequence[PortOverride], workload: str
) -> tuple[PortMap, ...]:
    """Every declared port and every Service's target port, TCP and UDP, one to one but for the overrides.

    NamedObjectMissing for an override of another container's port or of none at all, BadUsage for a pod
    port that is given twice.
    """
    spec = template["spec"]
    names = _names(spec, container)
    for service in services:
        for target, protocol in _targets(service):
            if isinstance(target, int) and _port_owner(spec, target, protocol) in (None, container):
                names.setdefault((target, protocol), "")
    laptop: dict[Port, int] = {}
    for override in overrides:
        port = (override.pod_port, override.protocol)
        owner = _port_owner(spec, *port)
        if owner is not None and owner != container:
            raise NamedObjectMissing(
                f"port {port_word(*port)} belongs to container {owner}, not to {container}: "
                f"name the container, as in {workload}:{owner}"
            )
        if port in laptop:
            raise BadUsage(f"the pod's port {port_word(*port)} is given twice with -p")
        if port not in names:
            raise NamedObjectMissing(_no_such_port(override, names, container, workload))
        laptop[port] = override.laptop_port
    return tuple(
        PortMap(port[0], laptop.get(port, port[0]), names[port], protocol=port[1]) for port in sorted(names)
    )


def expose_ports(
    spec: Json, container: str, exposed: Sequence[PortOverride], model: str
) -> tuple[PortMap, ...]:
    """Those ports alone, by pod port; a name that the template gives one is kept.

    NamedObjectMissing for a port of another container of `model`, which would listen there itself.
    """
    names = _names(spec, container)
    for one in exposed:
        owner = _port_owner(spec, one.pod_port, one.protocol)
        if owner is not None and owner != container:
            raise NamedObjectMissing(
                f"port {port_word(one.pod_port, one.protocol)} belongs to container {owner}, not to "
                f"{container}: name the container, as in --like {model}:{owner}, or expose another port"
            )
    ports = (
        PortMap(
            one.pod_port, one.laptop_port, names.get((one.pod_port, one.protocol), ""), protocol=one.protocol
        )
        for one in exposed
    )
    return tuple(sorted(ports, key=lambda port: (port.pod_port, port.protocol)))


def _no_such_port(asked: PortOverride, names: Mapping[Port, str], container: str, workload: str) -> str:
    known = ", ".join(
        f"{port_word(*port)} ({name})" if name else port_word(*port) for port, name in sorted(names.items())
    )
    there_are = f"there are {known}" if known else "it has no port at all"
    other = next((protocol for port, protocol in names if port == asked.pod_port), None)
    if other is not None:
        there_are += f"; did you mean -p {asked.laptop_port}:{port_word(asked.pod_port, other)}?"
    return (
        f"-p: container {container} of {workload} declares no {asked.protocol} port {asked.pod_port}, nor "
        f"does a Service send there: {there_are}"
    )


def unserved(template: Json, container: str) -> tuple[str, ...]:
    """Sentences on what the child will not get."""
    (spec,) = (one for one in template["spec"]["containers"] if one["name"] == container)
    sentences = [
        f"{port['protocol']} port {port['containerPort']} is not served: nothing answers there meanwhile"
        for port in spec.get("ports") or ()
        if port.get("protocol", "TCP") not in PROTOCOLS
    ]
    sentences += [
        f"The block device {device['devicePath']} is not given to the local process"
        for device in spec.get("volumeDevices") or ()
    ]
    return tuple(sentences)


def require_room(workload: str, specs: Iterable[Json]) -> None:
    """PreconditionFailed for pods that cannot run beside another of their kind, or not on Linux."""
    for spec in specs:
        if (spec.get("os") or {}).get("name") == "windows":
            raise PreconditionFailed(f"{workload} runs on Windows nodes: only Linux pods can be swapped")
        if spec.get("hostNetwork"):
            raise PreconditionFailed(
                f"{workload} uses its node's network (hostNetwork), where two pods cannot have the same "
                "port: swapping it is not supported yet"
            )
        for container in spec["containers"]:
            for port in container.get("ports") or ():
                if port.get("hostPort"):
                    raise PreconditionFailed(
                        f"{workload} takes port {port['hostPort']} of its node (hostPort), which two pods "
                        "cannot have side by side: swapping it is not supported yet"
                    )


def free_ports(specs: Iterable[Json], more: Iterable[int]) -> tuple[int, int]:
    """Two ports that no container of these pods is known to use: for the tunnel and for health."""
    used = set(more).union(*map(used_ports, specs))
    numbers = (number for number in range(FIRST_OWN_PORT, 32768) if number not in used)
    return next(numbers), next(numbers)


def used_ports(spec: Json) -> set[int]:
    """Those that the containers of a pod declare, or are probed at."""
    used: set[int] = set()
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        used |= {port["containerPort"] for port in container.get("ports") or ()}
        used |= set(_probed_ports(container))
    return used


def helper_ports(spec: Json, container: str, ports: Iterable[PortMap]) -> tuple[int, ...]:
    """The ports that other containers of a pod declare, less those on which the child answers instead."""
    helpers = (
        *(one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"),
        *(one for one in spec["containers"] if one["name"] != container),
    )
    declared = {port["containerPort"] for one in helpers for port in one.get("ports") or ()}
    return tuple(sorted(declared - {port.child_port for port in ports}))


def mounts_of(spec: Json, container: str) -> tuple[Mount, ...]:
    """The container's volume mounts, from a living pod, so that what admission mounts is among them."""
    kinds = {
        volume["name"]: next((key for key in volume if key != "name"), "")
        for volume in spec.get("volumes") or ()
    }
    (chosen,) = (one for one in spec["containers"] if one["name"] == container)
    return tuple(
        Mount(
            path=mount["mountPath"],
            volume=mount["name"],
            kind=kinds.get(mount["name"], ""),
            read_only=bool(mount.get("readOnly")) or kinds.get(mount["name"]) in READ_ONLY_KINDS,
            sub_path=mount.get("subPath") or mount.get("subPathExpr") or "",
        )
        for mount in chosen.get("volumeMounts") or ()
    )


def _names(spec: Json, container: str) -> dict[Port, str]:
    """The ports that the container declares, with their names."""
    (chosen,) = (one for one in spec["containers"] if one["name"] == container)
    return {
        (port["containerPort"], port.get("protocol", "TCP")): port.get("name", "")
        for port in chosen.get("ports") or ()
        if port.get("protocol", "TCP") in PROTOCOLS
    }


def _targets(service: Json) -> Iterator[tuple[int | str, str]]:
    for port in service["spec"].get("ports") or ():
        if (protocol := port.get("protocol", "TCP")) in PROTOCOLS:
            yield port.get("targetPort", port["port"]), protocol


def _port_owner(spec: Json, target: int | str, protocol: str) -> str | None:
    """The container that declares the port of that number or name."""
    for container in spec["containers"]:
        for port, name in _names(spec, container["name"]).items():
            if protocol == port[1] and target in (port[0], name):
                return str(container["name"])
    return None


def _probed_ports(container: Json) -> Iterator[int]:
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        for action in ("httpGet", "tcpSocket", "grpc"):
            port = ((container.get(probe) or {}).get(action) or {}).get("port")
            if isinstance(port, int):
                yield port
