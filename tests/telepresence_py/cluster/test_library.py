"""What importing costs, and that nobody else's import of the library is spoilt."""

from __future__ import annotations

import subprocess
import sys


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD = "import sys; from telepresence_py.cluster.library import load_library; library = load_library();"


def test_no_generated_model_and_no_api_class_is_imported_for_a_client():
    program = (
        "import sys, builtins\n"
        "seen = set()\n"
        "real = builtins.__import__\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        seen.add(name)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import telepresence_py.cluster.client\n"
        f"{LOAD}\n"
        "library.connections(library.configuration())\n"
        "heavy = ('kubernetes.client.models.', 'kubernetes.client.api.')\n"
        "print(sorted(name for name in seen if name.startswith(heavy)))\n"
    )
    assert python(program) == "[]"


def test_the_import_stays_light():
    assert int(python(f"{LOAD} print(len(sys.modules))")) < 700
    assert python(f"{LOAD} print('pydantic' in sys.modules)") == "False"


def test_nothing_of_the_stand_ins_stays_behind():
    assert python(f"{LOAD} print([name for name in sys.modules if name.startswith('kubernetes')])") == "[]"


def test_what_had_stand_ins_is_there_for_others_and_urllib3_still_has_it():
    program = (
        f"{LOAD} import multiprocessing, typing_extensions, urllib3.http2, importlib.metadata as metadata;"
        "import urllib.request;"
        "print(multiprocessing.Process.__name__, typing_extensions.__name__, urllib.request.urlopen.__name__,"
        " urllib3.http2.version('urllib3') == metadata.version('urllib3'))"
    )
    assert python(program) == "Process typing_extensions urlopen True"


def test_the_whole_library_can_still_be_imported_afterwards():
    names = "kubernetes.client.CoreV1Api.__name__, kubernetes.client.ApiClient.__name__"
    program = f"{LOAD} import kubernetes; print({names})"
    assert python(program) == "CoreV1Api ApiClient"


def test_a_library_that_was_imported_before_is_used_as_it_is():
    program = (
        "import sys, kubernetes.client; before = kubernetes.client.Configuration;"
        f"{LOAD} print(library.configuration is before, sys.modules['kubernetes'] is kubernetes)"
    )
    assert python(program) == "True True"


def test_asking_for_names_does_not_import_the_library():
    program = (
        "import sys, telepresence_py.cluster.names;print('urllib3' in sys.modules or 'yaml' in sys.modules)"
    )
    assert python(program) == "False"
