"""The probe in several languages, and what else is compiled before it can be the child.

What is built is kept in the project's cache under the digest of its sources: built once, then never again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from integration.probe.asking import HERE
from integration.probe.swapping import python_probe
from integration.support.cluster import cache_directory
from integration.support.product import Product
from integration.support.programs import Need
from integration.support.turns import turn

LANGUAGES = ("python", "static", "java", "node", "musl")
"""Of the probe. `static` is Go without cgo: nothing to preload into, a resolver of its own."""


@dataclass(frozen=True)
class _Build:
    """`command` is run in `sources`, below integration/probe; "{}" is the directory to fill."""

    needs: str
    sources: str
    command: tuple[str, ...]
    cost: str


_GO = ("env", "CGO_ENABLED=0", "go", "build", "-ldflags", "-s -w", "-o", "{}", ".")
_BUILDS = {
    "static": _Build("go", "go", _GO, "some seconds"),
    "java": _Build("java", "java", ("javac", "-d", "{}", "Probe.java"), "some seconds"),
    "musl": _Build("musl", "musl", ("musl-gcc", "-static", "-O1", "-o", "{}/probe", "probe.c"), "a second"),
    "survey": _Build("go", "survey", _GO, "some seconds"),
    "reload": _Build("go", "reload", _GO, "some seconds"),
    "kubernetes": _Build("go", "in_cluster/go", _GO, "a minute, or seconds where Kubernetes was built"),
}


@dataclass(frozen=True)
class Builder:
    """Builds what is not there yet into directories below `place`, where the plain user can run it."""

    place: Path
    need: Need

    def probe(self, language: str, product: Product, *listen: str) -> Sequence[str]:
        """The probe as a child that answers `laptop` to who it is; `listen` are its LISTEN words."""
        if language == "python":
            return python_probe(product, *listen)
        if language == "node":
            self.need("node")
            words = ["node", product.source("integration/probe/node/probe.js")]
        else:
            built = self.built(language)
            words = ["java", "-cp", str(built), "Probe"] if language == "java" else [str(built / "probe")]
        return ("env", "PROBE_WHO=laptop", *words, "ask", *listen)

    def built(self, name: str) -> Path:
        """The directory with the product of that build: `probe` or `client`, or classes."""
        build = _BUILDS[name]
        sources = HERE / build.sources
        kept = cache_directory() / "built" / f"{name}-{_digest(sources, build.command)}"
        if not kept.exists():
            self.need(build.needs)
            with turn(f"build-{name}"):  # whoever waited for it finds it there
                if not kept.exists():
                    _make(build, sources, kept)
        target = self.place / kept.name
        if not target.exists():
            _put_in_place(target, lambda new: shutil.copytree(kept, new))
        return target


def _make(build: _Build, sources: Path, target: Path) -> None:
    began = time.monotonic()
    print(f"test: building {target.name} ({build.cost})", file=sys.stderr, flush=True)

    def run(directory: Path) -> None:
        directory.mkdir()
        # with the slash `go build` takes it for a directory
        words = [word.replace("{}", f"{directory}/") for word in build.command]
        subprocess.run(words, cwd=sources, check=True)

    _put_in_place(target, run)
    print(f"test: built after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _put_in_place(target: Path, fill: Callable[[Path], object]) -> None:
    """Whole or not at all; of several that do so at a time, the first one counts."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}")
    previous = os.umask(0o022)
    try:
        fill(new)
        new.rename(target)
    except OSError:
        if not target.exists():
            raise
    finally:
        os.umask(previous)
        shutil.rmtree(new, ignore_errors=True)


def _digest(sources: Path, command: Sequence[str]) -> str:
    total = hashlib.sha256("\0".join(command).encode())
    for file in sorted(sources.iterdir()):
        total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:12]
