"""Rootless podman as the plain user has it, with a store of its own, and an image that needs no registry.

Debian's podman is unpacked beside the system and not installed: `telepresence-py sidecar build` of other
tests would take it instead of buildah from then on.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.support.namespaces import write_kubeconfig
from integration.support.plain_user import HOME, SYSTEM_PATH, PlainUser
from integration.support.product import Product
from integration.support.programs import Need, unpack_packages

IMAGE = "localhost/telepresence-test-busybox:1"
_PODMAN = HOME.parent / "podman"
_BUSYBOX = Path("/bin/busybox")
_DIRECTORIES = ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "var", "work")
_SAYS = (
    'CMD ["sh", "-c", "echo by the image itself; exit 9"]',
    "ENV OF_IMAGE=yes",
    "ENV PATH=/bin",
    "WORKDIR /work",
)
CHANGES = tuple(word for one in _SAYS for word in ("-c", one))
"""What IMAGE says beside its files, for `podman import` and `docker import`."""

_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1234:worker:/work:/bin/sh\n"


@dataclass
class ContainerProduct(Product):
    """A product whose user has podman; `podman` asks it as that user."""

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {
            "PATH": f"{self.user.venv}/bin:{_PODMAN}/usr/bin:{SYSTEM_PATH}",
            "XDG_DATA_HOME": str(self.directory / "data"),
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
        }
        return super().environment({**own, **(more or {})})

    def podman(self, *words: str, stdin: bytes = b"", seconds: float = 60) -> str:
        done = subprocess.run(  # type: ignore[call-overload]
            ("podman", *words),
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            executable=shutil.which("podman", path=self.environment()["PATH"]),
            env=self.environment(),
            timeout=seconds,
            check=False,
            **self.user.popen_arguments(),
        )
        assert done.returncode == 0, f"podman {' '.join(words)}: {done.stderr.decode(errors='replace')}"
        return str(done.stdout.decode())

    def containers(self) -> list[str]:
        """Names of all that podman knows, running or not."""
        return self.podman("ps", "--all", "--format", "{{.Names}}").splitlines()


def ensure_podman(need: Need, may_install: bool) -> None:
    """`podman` is on the PATH of a ContainerProduct; or as `ensure` of programs.py."""
    need("what podman needs")
    if shutil.which("podman", path=SYSTEM_PATH):
        return
    if not may_install:
        pytest.skip("this machine has no podman")
    unpack_packages(_PODMAN, "podman", "conmon")


@contextlib.contextmanager
def container_product(user: PlainUser, kubeconfig: dict[str, Any]) -> Iterator[ContainerProduct]:
    """A product with podman, which has IMAGE; podman's own process is ended after it.

    Its directories have short names: podman takes none of more than 50 characters for its state.
    """
    directory = user.give(Path(tempfile.mkdtemp(prefix="tp-")))
    for name in ("run", "data"):
        (directory / name).mkdir(mode=0o700)
        user.give(directory / name)
    write_kubeconfig(directory / "kubeconfig", kubeconfig)
    product = ContainerProduct(user, directory, user.give(directory / "kubeconfig"))
    # Debian's crun refuses machines with both kinds of cgroups
    (directory / "containers.conf").write_text('[engine]\nruntime = "runc"\n')
    user.give(directory / "containers.conf")
    try:
        product.podman("import", *CHANGES, "-", IMAGE, stdin=root_file_system())
        yield product
    finally:
        product.end_all()
        product.podman("system", "migrate")
        shutil.rmtree(directory, ignore_errors=True)


def root_file_system() -> bytes:
    """Of IMAGE, as a tar archive."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in _DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        _add(archive, "bin/busybox", _BUSYBOX.read_bytes(), 0o755)
        _add(archive, "etc/passwd", _PASSWD, 0o644)
        applets = subprocess.run((_BUSYBOX, "--list"), capture_output=True, text=True, check=True).stdout
        for name in applets.split():
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
    return whole.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
