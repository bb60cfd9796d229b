"""Names as the pod resolves them: the child's queries are answered by the pod's own name servers.

May use asyncio; gets the tunnel's `resolve` as a callable. Must not import forward, isolation or cluster.
"""
