"""A client goes away in the middle of an export: what worked beside ends with it, and nothing stays behind."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from pathlib import Path

import pytest

from app.archive import writer
from app.operations import stream_dataset
from app.storage import AnnotationReader
from tests.desk import FORMAT, Desk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import BOX_HEADER, BOXES

N_FRAMES, N_BOXES = 300, 12_000


def test_a_cut_export_leaves_no_thread_file_or_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AnnotationReader.__init__.__kwdefaults__ or {}, "batch_rows", 1000)
    monkeypatch.setattr(writer, "HERE_BYTES", 0)  # a thread for the smallest member
    with Desk(tmp_path) as desk:
        task = desk.task({f"{n:03}.jpg": (80, 60) for n in range(N_FRAMES)}, [{"name": "cat"}])
        notes = random.Random(1)  # nothing shrinks, so that pieces leave from the start
        rows = "".join(
            f"{n % N_FRAMES:03},,cat,1,0.{n},1,0.1,0.5,0,0,0,0,0,{notes.randbytes(60).hex()}\n" for n in range(N_BOXES)
        )
        task.bring(zip_of({BOXES: f"{BOX_HEADER.strip()},note\n{rows}"}))
        job = {"task_id": task.number, "job_id": None, "format": FORMAT, "save_images": False}
        seen: set[str] = set()
        turns = sys.getswitchinterval()

        def cut(most_bytes: int) -> int:
            n_bytes = 0

            def send(chunk: bytes) -> None:
                nonlocal n_bytes
                n_bytes += len(chunk)
                assert sys.getswitchinterval() < turns  # its threads wait for each other
                seen.update(thread.name for thread in threading.enumerate())
                if n_bytes > most_bytes:
                    raise BrokenPipeError

            stream_dataset(desk.storage, job, send)
            return n_bytes

        whole = cut(1 << 40)
        assert sys.getswitchinterval() == turns
        gc.collect()  # what earlier tests have left would go meanwhile
        threads, n_handles = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
        for part in range(8):
            with pytest.raises(BrokenPipeError):
                cut(whole * part // 8)
        deadline = time.monotonic() + 60
        while set(threading.enumerate()) - threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set(threading.enumerate()) <= threads
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= n_handles
        assert "deflate" in {name.partition("_")[0] for name in seen}  # or nothing was proven
        database = desk.storage.database
        assert database.reader.pool.status().endswith("Current Checked out connections: 0")
        task.put()  # and nobody waits for a lock
