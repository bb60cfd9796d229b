"""The program that runs as the child and as the pod's own, and how tests ask it."""
