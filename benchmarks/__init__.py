"""Speed and memory, side by side with a rival in the same minutes; a missed limit is a marked row.

`figures` is pure: samples in, table out. `starting` and `resident` measure on a real cluster with the product
as a user installs it. `python -m benchmarks --help`; `scripts/bench` sets up what it stands on.
"""
