"""FAKE container and cluster tools: programs on the PATH that write down how they were called."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

IMAGE_ID = "1f" * 32
_PROGRAM = """#!{python} -ISB
import json, os, shutil, sys
from pathlib import Path
home = Path({home!r})
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
context = Path(words[-1])
files = sorted(str(path.relative_to(context)) for path in context.rglob("*")) if context.is_dir() else []
names = [name for name in ("Dockerfile.sidecar", "pip/pip.conf") if name in files]
call = {{"words": words, "files": files, "texts": {{name: (context / name).read_text() for name in names}}}}
for word in words:
    path = Path(word.removeprefix("docker-archive:").partition(":")[0])
    if path.is_absolute() and ".tar" in path.name:
        if path.exists():
            call["archive"] = path.stat().st_size
            shutil.copy(path, home / "seen.tar")
        elif {{"save", "push"}} & set(words[:3]):
            shutil.copy(home / "image.tar", path)
if "--digestfile" in words:
    Path(words[words.index("--digestfile") + 1]).write_text("sha256:" + "d" * 64)
with open(home / "calls", "a") as calls:
    calls.write(json.dumps(call) + "\\n")
for answer in json.loads((home / "answers").read_text()):
    if all(word in words for word in answer["to"]):
        sys.stdout.write(answer["out"])
        sys.stderr.write(answer["err"])
        sys.exit(answer["code"])
"""


class Tools:
    """A directory that is all of PATH, and what was called in it; `image.tar` is what a builder saves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._answers: list[dict[str, object]] = []
        (directory / "calls").touch()
        self._write_answers()
        write_docker_archive(directory / "image.tar", "localhost/telepresence-py-sidecar:test")

    def add(self, *names: str) -> None:
        """Programs that succeed and say nothing unless an answer was given for them."""
        for name in names:
            tool = self.directory / name
            tool.write_text(_PROGRAM.format(python=sys.executable, home=str(self.directory)))
            tool.chmod(0o755)

    def answer(self, *to: str, out: str = "", err: str = "", code: int = 0) -> None:
        """What is said to a call with all these words; of several answers that fit, the first given."""
        self._answers.append({"to": to, "out": out, "err": err, "code": code})
        self._write_answers()

    def calls(self, *words: str) -> list[dict]:
        """The calls with all these words."""
        lines = (self.directory / "calls").read_text().splitlines()
        return [call for call in map(json.loads, lines) if set(words) <= set(call["words"])]

    def _write_answers(self) -> None:
        (self.directory / "answers").write_text(json.dumps(self._answers))


def fake_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """An empty directory of tools as the whole PATH, and nothing that pip is told."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return Tools(directory)


def write_docker_archive(path: Path, reference: str) -> None:
    """An archive of an image without layers."""
    manifest = [{"Config": f"{IMAGE_ID}.json", "RepoTags": [reference], "Layers": []}]
    with tarfile.open(path, "w") as tar:
        for name, value in ((f"{IMAGE_ID}.json", {}), ("manifest.json", manifest)):
            content = json.dumps(value).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
