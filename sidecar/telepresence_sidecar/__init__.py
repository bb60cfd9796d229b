"""The program that runs in the pod, in place of the workload's container.

It may touch: the pod's network, its own environment and mounts (read-only).
It must not import `telepresence_py`; the laptop imports nothing of it but `contract`, and `late` before that.
"""
