"""The survey (a static program, survey/) in a pod, as the command in its place, and on the laptop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.probe.manifests import Object
from integration.probe.town import SERVICE_ACCOUNT, SINGLE_FILE, VOLUMES, target
from integration.support.aftermath import sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product

NAME = "surveyed"
WRITABLE = "/var/lib/target"
WORDS = ("peers", WRITABLE, *(path for path in VOLUMES if path != WRITABLE), SINGLE_FILE, SERVICE_ACCOUNT)
"""The survey's arguments: whom it talks to, and the volumes of `target`, that which may be written first."""
LAST = '"names in /"'
"""Of the last question."""

Answers = Mapping[str, str]


@dataclass(frozen=True)
class Surveyed:
    """The answers of the three places, each by its question, with names for what is each pod's own."""

    pod: Answers
    child: Answers
    laptop: Answers


def surveyed_workload() -> list[Object]:
    """`target` with limits and a time zone, as a workload may have them; the Deployment is the last."""
    *others, deployment, front = target(NAME)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["resources"] |= {"limits": {"cpu": "500m", "memory": "256Mi"}}
    container["env"].append({"name": "TZ", "value": "Asia/Tokyo"})
    return [*others, front, deployment]


def survey_pod(namespace: Namespace, program: Path) -> Answers:
    """In the original; the program is put into its /tmp by way of kubectl exec, and removed."""
    (pod,) = namespace.pods(f"app={NAME}")
    name = str(pod["metadata"]["name"])
    place = "/tmp/survey"
    put = ("exec", "-i", name, "-c", "main", "--", "sh", "-c", f"cat >{place} && chmod 755 {place}")
    command = namespace.cluster.kubectl_command("-n", namespace.name, *put)
    subprocess.run(command, input=program.read_bytes(), check=True, timeout=60)
    run = ("exec", name, "-c", "main", "--", place, *WORDS)
    try:
        return answers(namespace.kubectl(*run, seconds=120), own_of(pod))
    finally:
        namespace.kubectl("exec", name, "-c", "main", "--", "rm", place)


def survey_child(namespace: Namespace, product: Product, program: Path) -> Answers:
    """As the command of a swap, from start to end."""
    child = ("--", str(program), *WORDS)
    running = product.start("swap", f"deployment/{NAME}:main", "--ready", "now", *child)
    running.wait_out(LAST)
    (pod,) = sidecar_pods(namespace, NAME)
    assert running.process.stdin is not None
    running.process.stdin.close()
    ended = running.finish()
    assert ended.code == 0, ended.err
    return answers(ended.out, own_of(pod))


def survey_laptop(product: Product, program: Path) -> Answers:
    running = product.start_command([str(program), *WORDS])
    assert running.process.stdin is not None
    running.process.stdin.close()
    ended = running.finish()
    assert ended.code == 0, ended.err
    return answers(ended.out, {})


def answers(lines: str, own: Mapping[str, str]) -> Answers:
    """By question; what is the pod's own (a key of `own`) is replaced by what it is."""
    for value in sorted(own, key=len, reverse=True):
        lines = lines.replace(value, own[value])
    found: dict[str, str] = {}
    for line in lines.splitlines():
        question, answer = json.loads(line)
        assert question not in found, f"{question} was asked twice"
        found[question] = answer
    return found


def own_of(pod: dict[str, Any]) -> dict[str, str]:
    """What tells this pod from another of its workload."""
    own = {str(pod["metadata"]["name"]): "POD"}
    for address in pod["status"]["podIPs"]:
        own[str(address["ip"])] = "POD-IPv6" if ":" in address["ip"] else "POD-IPv4"
    return own
