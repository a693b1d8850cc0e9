"""Exports that begin to arrive at once: warm child processes that write an archive into a socket.

    web process                      child (`annoport child-stream`)
    ask {job}  ── one JSON line ──▶  runs the export
    chunks     ◀── frames ─────────  4 bytes length (big endian), 1 byte kind, payload

Kinds: D data, E the end, F a failure (JSON `{"detail", "code", "kind"}`). CPU work stays out of the web process, memory
is one chunk a stream, and a client that goes away ends its child, which is the quickest way to stop the work; the pool
starts the next one in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from app.errors import AppError, Busy, shortage_of
from app.heap import give_back, resident_bytes

FRAME = struct.Struct(">IB")
DATA, END, FAILED = b"DEF"

log = structlog.get_logger(__name__)


class StreamFailed(AppError):
    """The child could not go on; raised before the first byte or in the middle of the stream."""

    code = "export.failed"

    def __init__(self, detail: str, *, code: str, kind: str) -> None:
        super().__init__(detail, code=code)
        self.kind = kind


class ChildDied(Busy):
    """The child process ended: killed, or out of memory."""


def _failure(detail: str, code: str, kind: str) -> bytes:
    return json.dumps({"detail": detail, "code": code, "kind": kind}).encode()


class StreamPool:
    """Up to `size` exports at once in this web process; further ones wait up to `wait_seconds` for a place."""

    def __init__(self, command: list[str], size: int = 2, wait_seconds: float = 30.0) -> None:
        self._command = command
        self._places = asyncio.Semaphore(size)
        self._wait_seconds = wait_seconds
        self._idle: list[_Child] = []
        self._closed = False

    def warm(self) -> None:
        """Start one child ahead of need, so that the first export need not wait for an interpreter; or not, where the
        system has no room for it now."""
        if not self._idle and not self._closed:
            try:
                self._idle.append(_Child(self._command))
            except OSError as error:
                log.warning("no export process could be started ahead", reason=str(error))

    async def stream(self, job: dict[str, Any]) -> AsyncIterator[bytes]:
        """The chunks of the archive that `job` asks for.

        Raises:
            Busy: every place stayed taken.
            AppError: what the child refused, before the first chunk where it can tell by then.
            OSError: the system has no room for a child.
        """
        try:
            await asyncio.wait_for(self._places.acquire(), self._wait_seconds)
        except TimeoutError:
            raise Busy("all export streams are in use; try again in a moment", 5) from None
        child: _Child | None = None
        whole = begun = False
        try:
            child = self._take()
            try:
                async for chunk in child.run(job):
                    begun = True
                    yield chunk
            except ChildDied:
                if begun:
                    raise
                # Killed while it was idle, or at its first step: nothing was sent, so another one may try.
                child.close()
                child = _Child(self._command)
                async for chunk in child.run(job):
                    yield chunk
            whole = True
        finally:
            self._places.release()
            if child is not None and whole and child.is_alive() and not self._closed:
                self._idle.append(child)
            elif child is not None:
                child.close()
            self.warm()

    def _take(self) -> _Child:
        """A child that lives, an idle one if there is one."""
        while self._idle:
            child = self._idle.pop()
            if child.is_alive():
                return child
            child.close()
        return _Child(self._command)

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class _Child:
    """One child process and this side of its socket."""

    def __init__(self, command: list[str]) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket = ours
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*command, "--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            except BaseException:
                ours.close()
                raise

    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def run(self, job: dict[str, Any]) -> AsyncIterator[bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=2 << 20)
        try:
            self._writer.write(json.dumps(job).encode() + b"\n")
            await self._writer.drain()
            while True:
                length, kind = FRAME.unpack(await self._reader.readexactly(FRAME.size))
                payload = await self._reader.readexactly(length)
                if kind == END:
                    return
                if kind == FAILED:
                    failure = json.loads(payload)
                    raise StreamFailed(**failure)
                yield payload
        except (asyncio.IncompleteReadError, ConnectionError) as cause:
            raise ChildDied("the export process ended before its work was done; try again") from cause

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        else:
            self._socket.close()
        with contextlib.suppress(OSError):
            self._process.kill()
        # Reaped in the background: the web process must not wait for it. Without a thread for that the next child's
        # start does it (`subprocess`).
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().run_in_executor(
                None, self._process.wait
            ) if _loop_runs() else self._process.wait()


class _Unread(Exception):
    """Nobody reads what this child sends."""


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def serve_streams(
    fd: int, export: Callable[[dict[str, Any], Callable[[bytes], None]], None], *drop_caches: Callable[[], object]
) -> None:
    """The child's loop: one job a line, until the socket closes (the parent is gone)."""
    with socket.socket(fileno=fd) as connection:
        connection.setblocking(True)
        lines = connection.makefile("rb")

        def send(kind: int, payload: bytes | memoryview) -> None:
            try:
                connection.sendall(FRAME.pack(len(payload), kind))
                if payload:
                    connection.sendall(payload)
            except OSError as error:
                raise _Unread from error

        try:
            for line in lines:
                before = resident_bytes()
                try:
                    export(json.loads(line), lambda chunk: send(DATA, chunk))
                except AppError as error:
                    send(FAILED, _failure(error.detail, error.code, error.kind))
                except _Unread:
                    raise
                except Exception as error:
                    log.exception("export stream failed")
                    shortage = shortage_of(error)
                    if shortage is None:
                        detail = "the export failed for a reason that is in the service's log"
                        send(FAILED, _failure(detail, StreamFailed.code, StreamFailed.code))
                    else:
                        send(FAILED, _failure(shortage.detail, shortage.code, shortage.kind))
                else:
                    send(END, b"")
                give_back(before, *drop_caches)
        except (_Unread, ConnectionError):
            os._exit(0)
