from __future__ import annotations

import subprocess
import sys

from telepresence_py.model.door import Ended
from telepresence_py.model.errors import NoRights
from telepresence_py.session.__main__ import verdict
from telepresence_py.session.door import CliGone


def test_of_several_errors_the_one_with_a_sentence_is_told():
    error = ExceptionGroup(
        "both", [ValueError("bug"), ExceptionGroup("deep", [NoRights("may not create pods")])]
    )
    assert verdict(error).error == "NoRights"
    assert verdict(error).sentence == "may not create pods"


def test_a_bug_is_told_as_one_with_its_kind_and_the_way_to_its_traceback():
    told = verdict(ValueError("no such thing"))
    assert told.error == "InternalError"
    assert "ValueError: no such thing" in told.sentence
    assert "--debug" in told.sentence
    assert "Traceback" in told.traceback or "ValueError" in told.traceback


def test_an_end_that_the_command_line_asked_for_is_no_error():
    assert verdict(CliGone("SIGINT")) == Ended()
    assert verdict(ExceptionGroup("", [ExceptionGroup("", [CliGone("end of file")])])) == Ended()


def test_what_went_wrong_while_ending_is_told_all_the_same():
    error = ExceptionGroup("", [CliGone("SIGINT"), NoRights("may not delete pods")])
    assert verdict(error).error == "NoRights"


def test_a_session_begins_without_what_only_tunnels_need():
    """asyncssh takes a tenth of a second to import: there is time for that while the pod starts."""
    program = (
        "import sys, telepresence_py.session.__main__, telepresence_py.session.swap\n"
        "print(sorted({'asyncssh', 'picows', 'kubernetes', 'oauthlib', 'requests'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_session_with_its_tunnel_and_its_cluster_does_without_what_they_never_need():
    """Each of these is half a megabyte or more of memory, as long as the session lasts."""
    program = (
        "import sys, telepresence_py.session.__main__, telepresence_py.session.swap\n"
        "import telepresence_py.tunnel.connection\n"
        "from telepresence_py.cluster.library import load_library\n"
        "load_library()\n"
        "needless = {'multiprocessing', 'pickle', 'zipfile', 'importlib.metadata', 'typing_extensions',"
        " 'argparse', 'difflib', 'urllib.request', 'cryptography.x509', 'telepresence_py.fuse.codec',"
        " 'telepresence_py.forward.proxying', 'telepresence_py.session.run', 'tomllib'}\n"
        "print(sorted(needless & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
