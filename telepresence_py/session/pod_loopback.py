"""PURE: the pod's loopback, which the command shares with the pod's other containers by its options."""

from __future__ import annotations

from collections.abc import Iterable

from telepresence_py.cluster.calls import Json
from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import LocalhostChoice
from telepresence_py.model.network import PortMap


def require_loopback_ports(
    choice: LocalhostChoice, spec: Json, container: str, ports: Iterable[PortMap], workload: str
) -> None:
    """Refuses what cannot be: NamedObjectMissing for a `--from-pod` on which another container listens,
    BadUsage for a `--pod-localhost` that would lead to the command itself."""
    for port in choice.from_pod:
        if (owner := _other_owner(spec, container, port)) is not None:
            raise NamedObjectMissing(
                f"--from-pod {port}: container {owner} of {workload} has that port itself; name another port"
            )
    for port in choice.pod_localhost:
        if any(port == one.pod_port for one in ports if not one.is_udp):
            raise BadUsage(
                f"--pod-localhost {port}: that port of {workload} is the command's own, so it would call "
                "itself; leave it out"
            )


def with_loopback_ports(ports: tuple[PortMap, ...], choice: LocalhostChoice) -> tuple[PortMap, ...]:
    """Those, and the ports of `--from-pod` that are not among them."""
    known = {one.pod_port for one in ports if not one.is_udp}
    return (*ports, *(PortMap(port, port, of_loopback=True) for port in choice.from_pod if port not in known))


def _other_owner(spec: Json, container: str, port: int) -> str | None:
    """The name of another container, of those that run beside it, which declares the TCP port."""
    native = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    for other in (*spec["containers"], *native):
        declared = (other["name"] != container and other.get("ports")) or ()
        if any(one["containerPort"] == port and one.get("protocol", "TCP") == "TCP" for one in declared):
            return str(other["name"])
    return None
