"""The story of a run; the only room that knows every other.

`plan` and `manifest` decide without touching anything; `rehearsal`, `replicas` and `leftovers` do what was
decided and undo it. Must not import kubernetes, asyncssh, asyncio, subprocess, click: those have their rooms.
"""
