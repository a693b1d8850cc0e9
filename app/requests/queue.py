"""huey as transport: messages hold a request id and nothing else."""

from __future__ import annotations

from pathlib import Path


class Queue:
    """A durable queue of request ids. Any process may send; each message reaches one receiver, or (kill -9) none."""

    def send(self, request_id: str) -> None:
        """Announce a queued request; call it after the commit of its row."""
        raise NotImplementedError

    def receive(self) -> str | None:
        """The next id, or None where there is none (on PostgreSQL: after waiting up to a second)."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def open_queue(queue_url: str, data_dir: Path) -> Queue:
    """`sqlite:///path` or `postgresql://…`; "" is `data_dir/queue.sqlite3`."""
    raise NotImplementedError
