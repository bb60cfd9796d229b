"""Volumes of the pod that stay where they are: the kernel's file requests (FUSE), answered by operations in
the pod.

May touch the /dev/fuse descriptors that it is given; must not know namespaces, mounts or the cluster.
asyncio, as every request and answer goes through here.
"""
