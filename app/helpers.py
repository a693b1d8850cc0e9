"""Helpers: spawned processes that do work of this one, job by job.

    here  ── job ──▶  helper      a pipe each way; a job goes by memory that both sides have, if it fits: its arrays
          ◀─ done ──              are copied once, and nobody waits for a pipe to be emptied

A helper knows one function, `module:name`, says when it has started, and answers in the order of the jobs. It reads
jobs while it works, so that nobody waits to hand one over, and it ends when its reader does: at the end of the pipe,
however that end came. Who asks keeps each job until it is answered: a helper that is lost costs time only.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import IO, Any, Generic, Self, TypeVar

from app.heap import bound_heap
from app.spools import spool_of

Ticket = TypeVar("Ticket")
Job = TypeVar("Job")
Done = TypeVar("Done")
Parts = Sequence[memoryview]
"""A pickled value, and its arrays."""

SENT_AHEAD = 2
"""Jobs that one helper has at most, where nobody says otherwise."""
HELD_JOBS = 3
"""Jobs whose answers a crew keeps until they are asked for: so many times those that a helper has."""
AHEAD_JOBS = 1024
"""Jobs that are done or begun at most before anybody asks for the first of them, by `Crew.run_ahead`."""
PIPE_BYTES = 1 << 20  # 64 KiB by itself, which makes both sides wait for each other
PIECES_A_CALL = 512  # of memory, handed to the system at once
SLOT_BYTES = 4 << 20
"""What one job may take of shared memory; none is used up before it is needed."""
ALIGNMENT = 64
NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Helpers have no use for numpy's own threads, which take a third of a helper's start."""
_COUNT, _SIZE = struct.Struct("<I"), struct.Struct("<Q")
_SHARED = 1 << 31
"""Added to the count where the parts are not in the pipe: sizes are followed by places in shared memory."""


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # not Linux


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Go on without a helper that the system does not start (no process, memory, handles, threads): it saves time."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        import logging  # not by every helper at its start

        logging.getLogger(__name__).warning("no helper was started: %s", str(error))


class Helper:
    """One process that works on jobs, and a thread that takes its answers, so that neither side ever waits for the
    other's pipe to be emptied."""

    def __init__(self, work: str, of: str | None = None, ahead: int = SENT_AHEAD) -> None:
        """Start it.

        Args:
            work: `module:name` of a function of one job, which it leaves as it is; both jobs and answers are pickled.
            of: `work` makes that function of this text, there.
            ahead: jobs that it has at most, the one that it works on among them.

        Raises: what `refused` catches, where the system has no room for it; nothing is left of it then.
        """
        module, _, name = work.partition(":")
        memory = _shared_memory(ahead)
        self._slots = _Slots(memory, ahead)
        self._ahead = ahead
        function = name if of is None else f"{name}({of!r})"
        code = f"from app.helpers import serve; from {module} import {name}; serve({function}, {memory}, {ahead})"
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            if memory is not None:
                theirs.callback(os.close, memory)
            job_end, self._jobs = _pipe()
            theirs.callback(os.close, job_end)
            ours.callback(os.close, self._jobs)
            self._answers, result_end = _pipe()
            theirs.callback(os.close, result_end)
            ours.callback(os.close, self._answers)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=job_end,
                stdout=result_end,
                env={**os.environ, **NO_THREADS},
                pass_fds=() if memory is None else (memory,),
            )
            ours.callback(self._process.wait)
            ours.callback(self._process.kill)
            self._done: queue.SimpleQueue[Parts | None] = queue.SimpleQueue()
            self._is_up = threading.Event()  # it has started, or never will
            self._n_sent = 0
            self._is_lost = False
            self._thread = threading.Thread(target=self._listen, name=f"helper {name}", daemon=True)
            self._thread.start()
            ours.pop_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _listen(self) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                answers = _Incoming(self._answers)
                _receive_parts(answers.read)
                self._is_up.set()
                while True:
                    self._done.put(_receive_parts(answers.read))
        except Exception:
            traceback.print_exc()
        self._is_up.set()
        self._done.put(None)  # whatever came, nobody may wait for more

    def has_room(self) -> bool:
        """Whether it takes another job at once; while it starts, a larger one would have to wait."""
        return self._is_up.is_set() and not self._is_lost and self._n_sent < self._ahead

    def wait(self) -> None:
        """Until it has started."""
        self._is_up.wait()

    def has_answer(self) -> bool:
        """Whether `receive` would not wait."""
        return self._is_lost or not self._done.empty()

    def send(self, job: Any) -> Callable[[], Any]:
        """Hand a job over. Returns how to get the job again, until its answer is asked for: who keeps that need not
        keep the job."""
        self._n_sent += 1
        again: Callable[[], Any] = partial(_same, job)
        try:
            again = send(self._jobs, job, self._slots) or again
        except OSError:
            self._is_lost = True
        return again

    def receive(self) -> tuple[Any] | None:
        """The answer to the oldest job; None where there will be none."""
        done = self.receive_packed()
        return None if done is None else self.unpack(done)

    def unpack(self, parts: Parts) -> tuple[Any] | None:
        """What came by `receive_packed`; None where it cannot be read, and then there will be no more."""
        try:
            return (_loads(parts),)
        except Exception:
            traceback.print_exc()
            self._is_lost = True
            return None

    def receive_packed(self) -> Parts | None:
        """The answer as it came, for `unpack`: who keeps it on disk need not pack it again."""
        self._n_sent -= 1
        done = None if self._is_lost and self._done.empty() else self._done.get()
        self._is_lost = self._is_lost or done is None
        if done is not None:  # who is lost gets no job any more, and the last ones may still be asked for
            self._slots.free_oldest()
        return done

    def kill(self) -> None:
        """End its process: whoever waits for it, in another thread, learns that no answer will come."""
        self._process.kill()

    def close(self) -> None:
        """End it; what it has not answered is forgotten."""
        os.close(self._jobs)
        self._process.kill()
        self._process.wait()
        self._thread.join()
        os.close(self._answers)


class Crew(Generic[Ticket, Job, Done]):
    """Works on jobs here and, where there is much to do, in other processes: `with Crew(work, 1) as crew`.

    Args:
        work: a function of one job, at the top of its module.
        most_helpers: so many at the most, and none where there is one core.
        unhelped_jobs: done before the first helper is started, which takes as long as they do.
        ahead: jobs that each helper has at most. While it has as many, the next is done here: with more of them that
            is so less often than it would be for the best, where this process has much else to do.
    """

    def __init__(
        self, work: Callable[[Job], Done], most_helpers: int, unhelped_jobs: int = 0, ahead: int = SENT_AHEAD
    ) -> None:
        self._work = work
        self.ahead = ahead
        self._n_helpers = min(most_helpers, n_cores() - 1)
        self._unhelped = unhelped_jobs
        self._helpers: list[Helper] = []

    def __enter__(self) -> Self:
        self.helpers()  # they start while this process gets its first jobs
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for helper in self._helpers:
            helper.close()

    def expect(self, n_jobs: int) -> None:
        """So many jobs are sure to come, later: helpers that are worth it have started by then."""
        if n_jobs > self._unhelped:
            self._unhelped = 0
            self.helpers()

    def run(self, jobs: Iterable[tuple[Ticket, Job | None]]) -> Iterator[tuple[Ticket, Done | None]]:
        """The answers in the order of the jobs; a few jobs are taken ahead. No job (None) has no answer (None)."""
        source = iter(jobs)
        return Run(self, lambda: next(source, None), HELD_JOBS * self.ahead, HELD_JOBS * self.ahead)

    def run_ahead(
        self, take: Callable[[], tuple[Ticket, Job | None] | None], most_held: int | None = None
    ) -> Run[Ticket, Job, Done]:
        """The same for jobs that come while this process does something else: see `Run.go_on`.

        Args:
            take: gives the next job; None while there is none.
            most_held: answers that wait in memory, the others on disk; by default as many as a helper has jobs.
        """
        return Run(self, take, AHEAD_JOBS, self.ahead if most_held is None else most_held)

    def answer(self, job: Job | None) -> Done | None:
        """Work on a job here."""
        self._unhelped -= job is not None
        return None if job is None else self._work(job)

    def helpers(self) -> list[Helper]:
        """Those there are by now."""
        if not self._helpers and self._unhelped <= 0:
            name = f"{self._work.__module__}:{self._work.__qualname__}"
            n_helpers, self._n_helpers = self._n_helpers, 0
            with refused():
                for _ in range(n_helpers):
                    self._helpers.append(Helper(name, ahead=self.ahead))
        return self._helpers


@dataclass(slots=True, eq=False)
class _Place(Generic[Ticket, Job, Done]):
    """A job of a run. `helper`: who works on it, and `again` gives the job; `done`: its answer, or `on_disk`: where it
    begins there, and the sizes of its parts."""

    ticket: Ticket
    job: Job | None
    helper: Helper | None = None
    again: Callable[[], Job] | None = None
    done: tuple[Done | None] | None = None
    on_disk: tuple[int, Sequence[int]] | None = None


class Run(Generic[Ticket, Job, Done]):
    """Jobs of a crew and their answers in order: iterate over them, once. `Crew.run` and `run_ahead` make it.

    Answers that are there before anybody asks for them wait on disk, but for `most_held` of them.
    """

    def __init__(
        self,
        crew: Crew[Ticket, Job, Done],
        take: Callable[[], tuple[Ticket, Job | None] | None],
        most_waiting: int,
        most_held: int,
    ) -> None:
        self._crew, self._take = crew, take
        self._most_waiting, self._most_held = most_waiting, most_held
        self._waiting: deque[_Place[Ticket, Job, Done]] = deque()
        self._sent: deque[_Place[Ticket, Job, Done]] = deque()
        self._n_held = 0
        self._file: IO[bytes] | None = None

    def go_on(self) -> None:
        """Take the answers that there are, and give helpers more to do. Nothing is waited for, and no job done here."""
        while self._sent and self._sent[0].helper is not None and self._sent[0].helper.has_answer():
            self._take_answer(self._sent.popleft())
        for helper in self._crew.helpers():
            while helper.has_room() and (place := self._next()) is not None:
                if place.job is None:
                    self._put(place, None)
                    continue
                place.helper, place.again, place.job = helper, helper.send(place.job), None
                self._sent.append(place)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Ticket, Done | None]:
        while True:
            self.go_on()
            if not self._waiting or self._waiting[0].helper is not None:
                # Nothing to hand out yet: rather than wait, do the next job here.
                if (place := self._next()) is not None:
                    self._put(place, self._crew.answer(place.job))
                    continue
                if not self._waiting:
                    raise StopIteration
            place = self._waiting.popleft()
            if place.helper is not None:
                self._sent.popleft()  # it was sent first, for all before it are answered
                return place.ticket, self._receive(place)
            return place.ticket, self._get(place)

    def _next(self) -> _Place[Ticket, Job, Done] | None:
        found = self._take() if len(self._waiting) < self._most_waiting else None
        if found is None:
            return None
        self._waiting.append(_Place(*found))
        return self._waiting[-1]

    def _receive(self, place: _Place[Ticket, Job, Done]) -> Done | None:
        """The answer that is asked for now: it need not wait anywhere."""
        assert place.helper is not None
        assert place.again is not None
        done = place.helper.receive()
        return self._crew.answer(place.again()) if done is None else done[0]

    def _take_answer(self, place: _Place[Ticket, Job, Done]) -> None:
        """An answer that is there before anybody asks for it."""
        assert place.helper is not None
        assert place.again is not None
        packed = place.helper.receive_packed()
        done = None if packed is None else place.helper.unpack(packed)
        if packed is None or done is None:  # what it cannot do is found out here, as long as its job is there
            self._put(place, self._crew.answer(place.again()))
        elif self._n_held < self._most_held:
            place.done = done
            self._n_held += done[0] is not None
        else:
            self._spool(place, packed)
        place.helper = place.again = None

    def _put(self, place: _Place[Ticket, Job, Done], done: Done | None) -> None:
        """Keep an answer until it is asked for."""
        place.job = None
        if done is None or self._n_held < self._most_held:
            place.done = (done,)
            self._n_held += done is not None
            return
        self._spool(place, _packed(done))

    def _spool(self, place: _Place[Ticket, Job, Done], packed: Parts) -> None:
        if self._file is None:
            self._file = spool_of(self)
        place.on_disk = self._file.seek(0, os.SEEK_END), [part.nbytes for part in packed]
        for part in packed:
            self._file.write(part)

    def _get(self, place: _Place[Ticket, Job, Done]) -> Done | None:
        if place.done is not None:
            self._n_held -= place.done[0] is not None
            return place.done[0]
        assert self._file is not None
        assert place.on_disk is not None
        start, sizes = place.on_disk
        self._file.seek(start)
        done: Done | None = _loads([memoryview(self._file.read(size)) for size in sizes])
        return done


class Ahead(Generic[Job, Done]):
    """Has a helper work on jobs before anybody asks for their answers: `with Ahead(work, 8, make_job) as ahead`.

        make(0), make(1), …   handed over by a thread, in order, as fast as the helper takes them
        answer(1)             rather than wait for it, whoever asks does the next job that nobody has begun

    Answers are held until the end, so they should be small.
    """

    def __init__(self, work: Callable[[Job], Done], n_jobs: int, make: Callable[[int], Job]) -> None:
        """Args:
        work: a function of one job, at the top of its module.
        make: the job of a number, here or in a thread.
        """
        self._work, self._make = work, make
        self._todo = deque(range(n_jobs))
        self._done: dict[int, Done] = {}
        self._changed = threading.Condition()
        self._helper: Helper | None = None
        self._thread = threading.Thread(target=self._hand_over, name="jobs ahead", daemon=True)

    def __enter__(self) -> Self:
        if self._todo:
            with refused():
                helper = Helper(f"{self._work.__module__}:{self._work.__qualname__}")
                self._helper = helper  # before its thread starts, which uses it
                try:
                    self._thread.start()
                except RuntimeError:
                    self._helper = None
                    helper.close()
                    raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._helper is not None:
            with self._changed:
                self._todo.clear()
            # Killed first: the thread may be within a write to its pipe, which must not be closed before.
            self._helper.kill()
            self._thread.join()
            self._helper.close()

    def answer(self, number: int) -> Done:
        """Raises what the job raises; the thread that came upon it first has left it to whoever asks."""
        while True:
            with self._changed:
                if number in self._done:
                    return self._done[number]
                if not self._todo:
                    self._changed.wait()
                    continue
                other = self._todo.popleft()
            self._put(other, self._work(self._make(other)))

    def _put(self, number: int, done: Done) -> None:
        with self._changed:
            self._done[number] = done
            self._changed.notify_all()

    def _hand_over(self) -> None:
        assert self._helper is not None
        sent: deque[int] = deque()
        try:
            while True:
                while len(sent) < SENT_AHEAD and self._todo:
                    with self._changed:
                        if not self._todo:
                            break
                        sent.append(self._todo.popleft())
                    self._helper.send(self._make(sent[-1]))
                done = self._helper.receive() if sent else None
                if done is None:
                    break
                self._put(sent.popleft(), done[0])
        except Exception:
            traceback.print_exc()
        self._helper.kill()  # it has no more to do, and holds some 50 MiB
        with self._changed:  # what will not be answered is done by whoever asks
            self._todo.extendleft(reversed(sent))
            self._changed.notify_all()


def serve(work: Callable[[Any], Any], memory: int | None = None, ahead: int = SENT_AHEAD) -> None:
    """The helper's loop, until the pipe ends. `memory`: the file of the shared memory."""
    bound_heap()
    slots = _Slots(memory, ahead)
    answers = os.dup(1)
    os.dup2(2, 1)  # what is printed by mistake is no answer
    waiting: queue.Queue[tuple[Any] | None] = queue.Queue(ahead)

    def read_ahead() -> None:
        try:
            with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
                while True:
                    waiting.put((receive(0, slots),))
        except Exception:
            traceback.print_exc()
        os._exit(0)  # nobody waits for an answer any more, or a job cannot be read and is done elsewhere

    threading.Thread(target=read_ahead, daemon=True).start()
    with contextlib.suppress(OSError):
        send(answers, "up")
    with contextlib.suppress(OSError, KeyboardInterrupt):
        while (job := waiting.get()) is not None:
            send(answers, work(job[0]))
            del job
    os._exit(0)


# --- shared memory ---


def _shared_memory(n_slots: int) -> int | None:
    """A file in memory for the arrays of jobs; None where the system has no such thing."""
    with contextlib.suppress(AttributeError, OSError):
        memory = os.memfd_create("jobs")
        try:
            os.ftruncate(memory, n_slots * SLOT_BYTES)
        except OSError:
            os.close(memory)
            raise
        return memory
    return None


class _Slots:
    """Shared memory, a slot for each job that is on its way; nobody writes into a slot before its job is answered."""

    def __init__(self, memory: int | None, n_slots: int) -> None:
        self._view: memoryview | None = None
        if memory is not None:
            with contextlib.suppress(OSError, ValueError):
                self._view = memoryview(mmap.mmap(memory, n_slots * SLOT_BYTES))
        self._free = deque(range(n_slots if self._view is not None else 0))
        self._used: deque[int | None] = deque()

    def put(self, parts: Sequence[memoryview]) -> list[int] | None:
        """Copy parts into a free slot; their places, None where they do not fit."""
        places, end = [], 0
        for part in parts:
            places.append(end)
            end += -(-part.nbytes // ALIGNMENT) * ALIGNMENT
        if end > SLOT_BYTES or not self._free or self._view is None:
            self._used.append(None)
            return None
        slot = self._free.popleft()
        self._used.append(slot)
        places = [slot * SLOT_BYTES + place for place in places]
        for place, part in zip(places, parts, strict=True):
            self._view[place : place + part.nbytes] = part
        return places

    def get(self, places: Sequence[int], sizes: Sequence[int]) -> list[memoryview]:
        """The parts where they lie."""
        assert self._view is not None
        return [self._view[place : place + size] for place, size in zip(places, sizes, strict=True)]

    def free_oldest(self) -> None:
        slot = self._used.popleft()
        if slot is not None:
            self._free.append(slot)


# --- the pipe: number of parts, their sizes, the parts; the first is the pickled value, the others are its arrays ---


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends


def send(pipe: int, value: Any, slots: _Slots | None = None) -> Callable[[], Any] | None:
    """Raises OSError where nobody reads any more. Where it was put into a slot: how to get the value again."""
    parts = _packed(value)
    sizes = [part.nbytes for part in parts]
    places = slots.put(parts) if slots is not None else None
    if slots is None or places is None:
        head = _COUNT.pack(len(parts)) + b"".join(map(_SIZE.pack, sizes))
        _write(pipe, [memoryview(head), *(part for part in parts if part.nbytes)])
        return None
    _write(pipe, [memoryview(_COUNT.pack(len(parts) + _SHARED) + b"".join(map(_SIZE.pack, sizes + places)))])
    return partial(_loads, slots.get(places, sizes))


def receive(pipe: int, slots: _Slots | None = None) -> Any:
    """Raises EOFError where nothing comes any more."""
    return _loads(_receive_parts(partial(_read, pipe), slots))


def _receive_parts(read: Callable[[int], bytearray], slots: _Slots | None = None) -> Parts:
    (count,) = _COUNT.unpack(read(_COUNT.size))
    if count < _SHARED:
        sizes = [size for (size,) in _SIZE.iter_unpack(read(_SIZE.size * count))]
        return [memoryview(read(size)) for size in sizes]
    assert slots is not None
    count -= _SHARED
    numbers = [number for (number,) in _SIZE.iter_unpack(read(2 * _SIZE.size * count))]
    return slots.get(numbers[count:], numbers[:count])


def _packed(value: Any) -> Parts:
    arrays: list[pickle.PickleBuffer] = []
    first = memoryview(pickle.dumps(value, protocol=5, buffer_callback=arrays.append))
    return [first, *(array.raw() for array in arrays)]


def _loads(parts: Parts) -> Any:
    return pickle.loads(parts[0], buffers=parts[1:])


def _same(value: Any) -> Any:
    return value


def _write(pipe: int, parts: Sequence[memoryview]) -> None:
    waiting = list(reversed(parts))
    while waiting:
        some = waiting[: -PIECES_A_CALL - 1 : -1]
        n_written = os.writev(pipe, some)
        while waiting and n_written >= waiting[-1].nbytes:
            n_written -= waiting.pop().nbytes
        if n_written:
            waiting[-1] = waiting[-1][n_written:]


def _read(pipe: int, size: int) -> bytearray:
    data = bytearray(size)
    _fill(pipe, memoryview(data))
    return data


def _fill(pipe: int, view: memoryview) -> None:
    n_read = 0
    while n_read < len(view):
        n = os.readv(pipe, [view[n_read:]])
        if not n:
            raise EOFError
        n_read += n


class _Incoming:
    """What comes by a pipe, taken in as few calls as can be: after each of them a thread waits for its turn, 5 ms while
    another one is at work, and for so long nobody empties the pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytearray:
        if size and not len(self._rest):
            self._rest = memoryview(os.read(self._pipe, PIPE_BYTES))
        data = bytearray(self._rest[:size])
        self._rest = self._rest[size:]
        if len(data) < size:
            n_read = len(data)
            data += bytes(size - n_read)
            _fill(self._pipe, memoryview(data)[n_read:])
        return data
