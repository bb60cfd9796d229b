"""Processes of the laptop: the child, the session process, signals, the door's socket, the runtime directory.

May touch fork, exec, signals, /proc and the runtime directory; the only room that calls the kernel by ctypes.
Must not import trio at the top of a module that the CLI uses: the CLI is synchronous and starts fast.
"""
