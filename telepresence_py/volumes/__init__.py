"""The pod's files on the laptop, at the pod's own paths: which mounts are copied, and copying them safely.

May touch the directories whose descriptors it is given, nothing else of the file system; must not import
isolation, cluster or asyncio. The bytes come from the tunnel as a tar stream, which the session passes in.
"""
