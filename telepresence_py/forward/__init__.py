"""Byte streams and datagrams between the child and the pod.

May touch the sockets that it is given and the laptop's loopback, through asyncio. Learns whatever else it
needs by callables (which tunnel lives, what the child listens on, a socket born in the child's world); must
not import isolation, dns or cluster.
"""
