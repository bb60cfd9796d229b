"""`--mount DIR` and `--file PATH`: the pod's volumes below a directory, and files that no volume holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from integration.probe.manifests import Object, Workload, config_map, probe_config_map
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import SERVICE_ACCOUNT, settle
from integration.support.aftermath import (
    assert_nothing_touched,
    assert_restored,
    remember,
)
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.test_bad_input import assert_refused

BAKED = "/var/tmp/baked-in"
"""Where the container has files that no volume holds, and the laptop nothing."""
SETTINGS, TREE, LINK = f"{BAKED}/settings.ini", f"{BAKED}/tree", f"{BAKED}/link"
OPTIONS = [word for path in (SETTINGS, TREE, LINK) for word in ("--file", path)]
ECHO = ("echo:7000",)
"""Without a probe of readiness it is Ready for as long as it runs, however busy the machine is."""
VOLUMES = {"/etc/shipped": "settings", "/scratch": "scratch", "/home": "homes"}
BAKE = f"""
mkdir -p {TREE}/deep/er && cd {BAKED} && echo colour=green >settings.ini && chmod 640 settings.ini
python3 -c "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1200)" >tree/deep/er/binary
: >tree/empty && ln -s deep/er/binary tree/to-binary
printf '#!/bin/sh\\necho it ran\\n' >tree/run.sh && chmod 750 tree/run.sh && chmod 705 tree/deep
ln -s tree/run.sh link && head -c 70000000 /dev/zero >large && : >secret && chmod 0 secret
exec python3 /probe/probe.py serve {ECHO[0]}
"""


def shipped() -> list[Object]:
    volumes = [
        {"name": "settings", "configMap": {"name": "shipped"}},
        *({"name": name, "emptyDir": {}} for name in ("scratch", "homes")),
    ]
    mounts = [{"name": name, "mountPath": path} for path, name in VOLUMES.items()]
    container = {"volumeMounts": mounts, "command": ["sh", "-c", BAKE]}
    workload = Workload("shipped", 1, ECHO, (), pod={"volumes": volumes}, container=container, service=False)
    baked = replace(workload, name="baked")
    idle = replace(baked, name="idle", replicas=0)
    # a PATH in which there is nothing stands for an image without any program
    nothing = {"env": [{"name": "PATH", "value": "/nowhere"}]}
    waiting = {"command": ["/usr/bin/python3", "/probe/probe.py", "serve", *ECHO]}
    bare = replace(baked, name="bare", pod={}, container={**nothing, **waiting})
    settings = config_map("shipped", {"colour": "green"})
    return [
        probe_config_map(),
        settings,
        *workload.objects(),
        *baked.objects(),
        *idle.objects(),
        *bare.objects(),
    ]


@pytest.fixture(scope="module")
def sums(town: Namespace) -> str:
    """Of the files in the original, before anything is done to it."""
    settle(town, *shipped())
    return town.in_pod("deployment/shipped", "sh", "-c", _sums(""))


def _sums(root: str) -> str:
    """A command line that tells digests, modes and names of what is asked for."""
    return (
        f"cd {root}{TREE} && find . -type f | sort | xargs sha256sum "
        "&& find . | sort | xargs stat -c '%a %n' "
        f"&& readlink to-binary && ./run.sh && sha256sum <{root}{SETTINGS} && stat -c %a {root}{SETTINGS} "
        f"&& {root}{LINK} && stat -L -c %a {root}{LINK}"
    )


@dataclass(frozen=True)
class Mounted:
    child: ShellChild
    root: str


@pytest.fixture(scope="module")
def mounted(town: Namespace, townsman: Product, sums: str) -> Iterator[Mounted]:
    before = remember(town, "shipped")
    root = townsman.directory / "by-namespaces"
    with shell_child(townsman, "shipped", "--mount", str(root), *OPTIONS) as child:
        yield Mounted(child, str(root))
    assert_restored(before)
    assert not root.exists()


def test_volumes_are_below_the_directory_too(mounted: Mounted) -> None:
    said, code = mounted.child.run('echo "$TELEPRESENCE_ROOT"; ls "$TELEPRESENCE_ROOT"')
    assert (said.splitlines(), code) == ([mounted.root, "etc", "home", "probe", "scratch", "var"], 0)
    said, code = mounted.child.run(
        f"cat /etc/shipped/colour {mounted.root}/etc/shipped/colour "
        f"&& cmp {SERVICE_ACCOUNT}/token {mounted.root}{SERVICE_ACCOUNT}/token"
    )
    assert (said, code) == ("greengreen", 0)


def test_what_is_written_in_one_place_is_in_the_other_and_in_the_pod(mounted: Mounted) -> None:
    said, code = mounted.child.run(f"echo whole >{mounted.root}/scratch/file && cat /scratch/file")
    assert (said, code) == ("whole", 0)
    said, code = mounted.child.run(f"touch {mounted.root}/etc/shipped/new {mounted.root}/new")
    assert said.count("Read-only file system") == 2
    assert code == 1


def test_a_volume_that_would_hide_what_the_laptop_needs_is_there_alone(mounted: Mounted) -> None:
    said, code = mounted.child.run(f"echo pod >{mounted.root}/tmp/of-the-pod; ls /tmp/of-the-pod")
    assert "No such file" in said
    assert code == 2
    assert f"/home of the pod is below {mounted.root} alone" in mounted.child.swap.running.err


def test_files_of_the_image_are_the_containers_byte_for_byte_with_their_modes(
    mounted: Mounted, sums: str
) -> None:
    for root in ("", mounted.root):
        said, code = mounted.child.run(_sums(root))
        assert code == 0, said
        assert said.splitlines() == sums.strip().splitlines()
    said, code = mounted.child.run(f"echo x >>{SETTINGS}; touch {TREE}/new")
    assert said.count("Read-only file system") == 2


def test_without_namespaces_the_directory_has_all_of_it_and_is_gone_at_the_end(
    townsman: Product, sums: str
) -> None:
    root = townsman.directory / "by-proxy"
    root.mkdir()
    look = f'{_sums(str(root))} && cat "$TELEPRESENCE_ROOT/etc/shipped/colour" && ls {root}/home'
    options = ("--like", "deployment/baked", "--method", "proxy", "--mount", str(root), *OPTIONS)
    ended = townsman.run("run", *options, "--", "sh", "-c", look)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [*sums.strip().splitlines(), "green"]
    assert list(root.iterdir()) == []
    assert not root.is_symlink()


REFUSED = (
    (["idle", "--file", SETTINGS], 78, [SETTINGS, "deployment/idle has no Ready pod", "scale it up"]),
    (["bare", "--file", SETTINGS], 78, [SETTINGS, "neither tar nor cat", "ConfigMap"]),
    (
        ["baked", "--file", f"{BAKED}/setings.ini"],
        66,
        [f"{BAKED}/setings.ini", 'did you mean "settings.ini"?'],
    ),
    (["baked", "--file", f"{BAKED}/secret"], 78, ["cannot be read", "Permission denied"]),
    (["baked", "--file", f"{BAKED}/large"], 78, [f"{BAKED}/large", "more than 64 MiB"]),
    (["baked", "--file", "/etc/shipped/colour"], 78, ["the volume at /etc/shipped (configMap)"]),
    (["baked", "--file", "/usr/lib"], 78, ["it would hide", "--mount DIR"]),
    (["baked", "--mount", "/usr/share"], 78, ["--mount /usr/share", "not empty"]),
    (["baked", "--mount", "/scratch/pod"], 78, ["--mount /scratch/pod", "a volume at /scratch"]),
)


def test_what_cannot_be_had_is_refused_before_anything_is_touched(
    town: Namespace, townsman: Product, sums: str
) -> None:
    before = remember(town, "baked")
    started = [townsman.start("swap", *arguments, "--", "true") for arguments, _, _ in REFUSED]
    for running, (_, code, words) in zip(started, REFUSED, strict=True):
        assert_refused(running.finish(), code, *words)
    assert_nothing_touched(before)
