"""The only room that speaks Kubernetes: raw JSON over the official client's configuration and connections.

May touch: the API server that the user's kubeconfig names, from worker threads under trio.
Must not import: session, tunnel, process, nor the generated classes of the `kubernetes` library (they cost a
second). Its own frozen values and TelepresenceErrors come out; nothing of the library's does.
"""
