"""Customers who never stop: ask a URL again and again, a new connection each time, until stdin ends.

    python3 load.py URL [CUSTOMERS [PAUSE_SECONDS]]

Runs inside the cluster (`kubectl exec -i POD -- python3 -c "$(cat load.py)" URL`). First line on stdout:
"started". Last line: JSON with the number of answers by status line and "who", the failures told in full,
when each of them was (seconds since the start), and the longest wait in seconds. Nothing is retried: one
refused connection is one failure.
"""

from __future__ import annotations

import collections
import http.client
import json
import sys
import threading
import time
import urllib.error
import urllib.request


def main() -> None:
    url = sys.argv[1]
    customers, pause = int((sys.argv[2:] or ["4"])[0]), float((sys.argv[3:] or ["0.02"])[0])
    over, lock = threading.Event(), threading.Lock()
    answers: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    failed_at: list[float] = []
    start = time.monotonic()
    waits: list[float] = [0.0]

    def ask_on() -> None:
        while not over.wait(pause):
            began = time.monotonic()
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    said = answer.read().decode()
                failed = ""
            except (OSError, ValueError, http.client.HTTPException) as problem:
                said, failed = "", f"{type(problem).__name__}: {problem}"
                if isinstance(problem, urllib.error.HTTPError):
                    failed += f": {problem.read(300).decode(errors='replace')}"
            with lock:
                waits.append(time.monotonic() - began)
                if failed:
                    failures.append(f"after {waits[-1]:.2f} s: {failed}")
                    failed_at.append(began + waits[-1] - start)
                else:
                    answers[spoken_by(said)] += 1

    threads = [threading.Thread(target=ask_on) for _ in range(customers)]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    total = sum(answers.values()) + len(failures)
    told = {"requests": total, "answers": answers, "failures": failures, "longest": max(waits)}
    print(json.dumps(told | {"failed_at": failed_at}))


def spoken_by(said: str) -> str:
    """Who answered: `who` of a probe's JSON, else the last line of the text."""
    try:
        return str(json.loads(said)["who"])
    except (ValueError, KeyError, TypeError):
        return (said.strip().splitlines() or [""])[-1]


main()
