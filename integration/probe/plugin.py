"""A credential plugin for tests: gives what stands in files beside it, and keeps a record of its runs.

    plugin.py DIRECTORY [prompt]

DIRECTORY has `credential.json` (a status, without an expiry) and `seconds` (how long it is said to hold;
0: for ever), and gets `runs`, a line of JSON for each. With `prompt` it asks for a password on the terminal,
where there is one.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

directory = Path(sys.argv[1])
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
spec = info["spec"]
run = {"interactive": spec["interactive"], "stdin": os.isatty(0), "cluster": spec.get("cluster")}
with (directory / "runs").open("a") as runs:
    runs.write(json.dumps(run) + "\n")
if "prompt" in sys.argv and run["interactive"]:
    if getpass.getpass("Password of the test: ") != "open sesame":
        sys.exit("that is not the password")
elif "prompt" in sys.argv:
    sys.exit("nobody can be asked here")
status = json.loads((directory / "credential.json").read_text())
if seconds := float((directory / "seconds").read_text()):
    expiry = datetime.now(UTC) + timedelta(seconds=seconds)
    status["expirationTimestamp"] = expiry.isoformat(timespec="milliseconds").replace("+00:00", "Z")
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
