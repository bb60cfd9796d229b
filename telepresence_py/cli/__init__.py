"""The terminal: the only room that prints, asks, exits, and imports click.

May start processes by way of process/ and, for images, call the container tools. At the top of its modules it
imports neither kubernetes nor trio nor asyncssh: `--help` and the start of a swap must not wait for them.
"""
