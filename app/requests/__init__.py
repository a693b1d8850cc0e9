"""Background work: a queue that carries ids, a lease on the request's row, a worker that runs given handlers.

In: a `RequestDraft`. Out: a final request row, its effect made exactly once. Never: what a handler does, HTTP.
Spec: stack.md section 3; reliability.md sections 2 and 10.
The row is the truth; a message may get lost (the sweep brings it back) or come twice (the claim fails).
Start with `enqueue` (the asking side) and `run_worker` (the working side).
"""

from app.requests.asking import cancel, enqueue, wait_until_final, wait_until_final_async
from app.requests.context import Context
from app.requests.limits import WorkerLimits
from app.requests.living import alive, if_none_lives
from app.requests.queue import Queue, open_queue
from app.requests.sweep import sweep
from app.requests.worker import Handler, run_worker

__all__ = [
    "Context",
    "Handler",
    "Queue",
    "WorkerLimits",
    "alive",
    "cancel",
    "enqueue",
    "if_none_lives",
    "open_queue",
    "run_worker",
    "sweep",
    "wait_until_final",
    "wait_until_final_async",
]
