"""annoport: a CVAT-compatible web service for annotation archives.

An uploaded zip walks through the house in one direction, station by station: bytes (`api`), entries (`archive`),
columns (`columns`), annotations (`formats`, `annotations`), rows of a task (`storage`). An export walks the same
stations back. `main.create_app` is where the parts meet.
"""

__version__ = "0.1.0"
