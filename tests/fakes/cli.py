"""The real CLI with the FAKE session process: `python cli.py swap orders -- ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from telepresence_py.cli.main import main
from telepresence_py.process import session_process

if __name__ == "__main__":
    session_process.SESSION_PROGRAM = (sys.executable, str(Path(__file__).with_name("session.py")))
    main()
