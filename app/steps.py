"""Named steps at which a test lets a process end, as a power cut would: at once, and nothing is cleaned up.

    die_at("tus.synced")      by `main`, of the setting ANNOPORT_FAIL_POINT; "" (the default): never
    reach("tus.synced")       by the code, between two things that a crash may part

In:    the name of a step. Out: nothing, or the end of the process. Never: anything else; a step costs one comparison.
Spec:  reliability reference, sections 2, 10 and 13; `tests/faults/test_steps.py` walks all of them.
"""

from __future__ import annotations

import os
import signal

STEPS = (
    # A body is gathered in a file, made durable, and gets its row.
    "uploads.written",
    "uploads.renamed",
    "stage.synced",
    "stage.committed",
    "tus.synced",
    "tus.committed",
    # The work is recorded, announced, taken.
    "queue.committed",
    "queue.announced",
    "claim.committed",
    # An import is read to its end, stored, and published with the request's end.
    "import.mid",
    "kept.renamed",
    "plan.done",
    "finish.begun",
    "finish.ready",
    "finish.committed",
    # An export is written to its end, made durable, and told.
    "results.written",
    "results.renamed",
    "export.done",
    # What nobody needs any more goes: rows first, then bytes.
    "sweep.rows",
    "collect.deleted",
)

_fatal = ""


def die_at(step: str) -> None:
    """From now on the process ends where it reaches this step.

    Raises:
        ValueError: there is no such step.
    """
    if step and step not in STEPS:
        raise ValueError(f"there is no step {step!r}; there are {', '.join(STEPS)}")
    global _fatal
    _fatal = step


def reach(step: str) -> None:
    """Say that a step was reached."""
    if step == _fatal:
        os.kill(os.getpid(), signal.SIGKILL)
