"""Kills at random moments under a mixed load, and whether every promise was kept.

    python -m tests.kills --rounds 1000

Each actor works on a task of its own, one call after the other, and remembers what it was promised: `actors.py`. A
`Shape` is an installation whose processes can be killed and brought back: `shapes.py` has the embedded one; any other
is as good, if it does what the protocol says. `run.py` kills; `store.py` looks into the store when all is over.
"""
