"""Input that is meant to hurt, set on a running service: archives, requests, and what each may cost.

archives.py   bad archives, each with the code and the place that must be named
sound.py      archives of ordinary tools, which must be taken
requests.py   bad requests, each with the statuses that are right
arena.py      the service they are set on, a task of known annotations, and what is measured
`python -m tests.hostile` runs all of them and prints status, code, time and memory of each.
"""
