"""The wrapper in a pipeline: the child's streams are the very pipes, and it ends as it would there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.product import Finished, Product

SWAP = "telepresence-py swap pipe --quiet --"
STREAM = """\
import hashlib, sys
for number in range(1 << 10):
    sys.stdout.buffer.write(hashlib.shake_128(b"%d" % number).digest(1 << 20))
"""
"""A program that writes 1 GiB, of which no two pieces are alike."""
STREAM_DIGEST = "9fa753792f1fa0dccb86e6a490e0e5a2c877e2442199a31fc3e8f261742cf230"


@pytest.fixture(scope="module")
def deployed_pipe(town: Namespace) -> Before:
    settle(town, probe_config_map(), Workload("pipe", listen=(), ports=(), service=False).deployment())
    return remember(town, "pipe")


@pytest.fixture
def pipe(deployed_pipe: Before) -> Iterator[Before]:
    """A workload without ports; back, once the pipeline has ended."""
    yield deployed_pipe
    assert_restored(deployed_pipe)


def pipeline(product: Product, line: str, seconds: float = 60) -> tuple[Finished, list[int]]:
    """A line of bash with `pipefail`, and the exit codes of its members; nothing else may be on stderr."""
    said = 'codes="${PIPESTATUS[*]}" code=$?; echo "codes $codes." >&2; exit $code'
    script = f"set -o pipefail; {line}; {said}"
    ended = product.start_command(["bash", "-c", script], directory=product.directory).finish(seconds)
    codes = re.fullmatch(r"codes ([\d ]+)\.\n", ended.err)
    assert codes, f"stray output: {ended.err}"
    return ended, [int(code) for code in codes.group(1).split()]


def test_a_filter_filters_and_a_reader_that_has_enough_ends_it(pipe: Before, townsman: Product) -> None:
    ended, codes = pipeline(townsman, f"seq 200000 -1 1 | {SWAP} sort -n | head -3")
    assert ended.out == "1\n2\n3\n"
    assert codes == [0, 141, 0], "sort ended by SIGPIPE, and so did the wrapper"
    assert ended.code == 141


def test_a_source_ends_when_the_child_has_enough(pipe: Before, townsman: Product) -> None:
    ended, codes = pipeline(townsman, f"yes | {SWAP} sh -c 'head -2; exit 3' | cat")
    assert ended.out == "y\ny\n"
    assert codes == [141, 3, 0]
    assert ended.code == 3


def test_a_file_on_stdin_is_read_on_by_the_next_program(pipe: Before, townsman: Product) -> None:
    """It is the same open file: what the child did not read is left for others."""
    (townsman.directory / "lines").write_text("one\ntwo\nthree\n")
    line = "{ " + SWAP + " sh -c 'read word; echo first $word; pwd >&3'; cat; } <lines 3>directory"
    ended, codes = pipeline(townsman, line)
    assert ended.out == "first one\ntwo\nthree\n"
    assert codes == [0]
    assert Path(townsman.directory, "directory").read_text() == f"{townsman.directory}\n", "and descriptor 3"


def test_a_gigabyte_passes_unharmed_and_not_through_us(pipe: Before, townsman: Product) -> None:
    """The checksum is that of the source, and the child's streams are the pipes themselves."""
    (townsman.directory / "stream.py").write_text(STREAM)
    look = "readlink /proc/self/fd/0 /proc/self/fd/4 4>&1 >"
    line = f"python3 stream.py | {{ {look}outside; {SWAP} sh -c '{look}inside; exec cat'; }} | sha256sum"
    ended, codes = pipeline(townsman, line, seconds=120)
    assert ended.out.split()[0] == STREAM_DIGEST
    assert codes == [0, 0, 0]
    assert Path(townsman.directory, "inside").read_text() == Path(townsman.directory, "outside").read_text()
