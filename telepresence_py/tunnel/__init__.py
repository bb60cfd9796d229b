"""The way between laptop and pod: the only room that speaks SSH and WebSocket, and where trio and asyncio
meet.

    interface   what the other rooms use: Tunnel, MuxStream, Splice
    connection  open_tunnel: dial, shake hands, pin the host key, say hello; again when it breaks
    bridge      trio as guest of an asyncio loop, one thread

It may touch: the network, towards the API server alone. It must not import another room; who dials where is
told by a callable.
"""
