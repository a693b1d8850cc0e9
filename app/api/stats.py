"""What a task holds, for people: numbers, the list of its pictures, and one picture with all that is said of it.

    GET /api/stats?tasks=1,2,3                 how much each of these tasks holds
    GET /api/tasks/{id}/stats                  the health check: labels, sizes, places, flags, what looks wrong
    GET /api/tasks/{id}/stats/{chart}          one of its charts: labels, sizes, aspects, positions, flags, masks …
    GET /api/tasks/{id}/pictures?…             a stretch of the list of pictures, searched or filtered
    GET /api/tasks/{id}/pictures/{frame}       one picture's annotations, tracks as the shapes one sees; captions …

All of it follows from the task's revision, which is the ETag: who asks again for the same gets 304, and what took a
pass over all annotations is remembered for the latest few revisions.
"""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import Path, Query, Request, Response

from app.annotations import FrameTable, expand_tracks
from app.api.answers import etag_matches
from app.api.deps import CallerDep, Services, ServicesDep
from app.api.encoding import encode
from app.api.queries import parse_flag, parse_whole
from app.api.routing import Router
from app.api.schemas import PathId
from app.errors import Busy, InvalidInput, NotFound, shorten
from app.formats import notes_of
from app.operations import statistics
from app.storage import Connection, Task, frames, labels, tasks
from app.storage import annotations as annotation_rows

router = Router(tags=["stats"])

MAX_TASKS = 500
MAX_PICTURES = 500
MAX_NOTES = 500
READ_ROWS, READ_BYTES = 10_000, 1 << 20  # of one picture at a time
REMEMBERED = 64
CHARTS: dict[str, tuple[str, ...]] = {
    "labels": ("labels", "subsets"),
    "tags": ("labels",),
    "types": ("types",),
    "objects_per_picture": ("objects_per_picture", "busiest"),
    "sizes": ("sizes",),
    "aspects": ("aspects",),
    "positions": ("positions",),
    "flags": ("flags",),
    "masks": ("masks",),
    "findings": ("findings",),
}
"""What each chart of the health check shows of the whole."""

TextQuery = Annotated[str | None, Query(max_length=256, description="Only what has this")]
TasksQuery = Annotated[str, Query(alias="tasks", description="Ids of tasks, comma separated", examples=["1,2"])]
JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {"type": "object"}}}}}


PASSES, WAITING = 2, 16
"""Passes over tasks at once, and requests in or before one: the other threads are for everybody else."""


class Memory:
    """The latest answers that took a pass over a task, by what was asked of which revision; made few at a time."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._held: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._passes = threading.Semaphore(PASSES)
        self._waiting = threading.Semaphore(WAITING)

    def get(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What is known, or made now. Raises Busy where too many wait already."""
        found = self._find(key)
        if found is not None:
            return found
        if not self._waiting.acquire(blocking=False):
            raise Busy("many statistics are being made; try again in a moment", 2)
        try:
            with self._passes:
                found = self._find(key)  # somebody else may have made it meanwhile
                return found if found is not None else self._keep(key, make())
        finally:
            self._waiting.release()

    def _find(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def _keep(self, key: tuple[Any, ...], value: Any) -> Any:
        with self._lock:
            self._held[key] = value
            while len(self._held) > self._size:
                self._held.popitem(last=False)
        return value


def memory_of(request: Request) -> Memory:
    state = request.app.state
    if not hasattr(state, "statistics_memory"):
        state.statistics_memory = Memory()
    memory: Memory = state.statistics_memory
    return memory


def send(request: Request, task: Task, body: Callable[[], bytes | memoryview]) -> Response:
    """The JSON of a task's revision, or 304."""
    etag = f'"{task.id}-{task.revision}-{task.created_date.timestamp():.0f}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag_matches(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body(), headers=headers, media_type="application/json")


@router.get("/api/stats", responses=JSON)
def get_many(caller: CallerDep, services: ServicesDep, tasks_: TasksQuery = "") -> Response:
    """How much each of these tasks holds: shapes, tags, tracks and the first labels. Foreign ids are left out."""
    wanted = [text for text in tasks_.split(",") if text.strip()]
    if len(wanted) > MAX_TASKS:
        raise InvalidInput(f"at most {MAX_TASKS} tasks at once", place="tasks")
    found = []
    with services.storage.database.read() as conn:
        for text in wanted:
            try:
                found.append(tasks.get(conn, caller.user, parse_whole("tasks", text, 0, 2**53)).id)
            except NotFound:
                continue
        body = orjson.dumps({"tasks": statistics.task_facts(conn, found)})
    return Response(body, media_type="application/json")


@router.get("/api/tasks/{task_id}/stats", responses=JSON)
def get_statistics(request: Request, task_id: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """The health check: labels by subset, sizes, aspects, places, shapes per picture, flags, and what looks wrong."""
    with services.storage.database.snapshot() as conn:
        task = tasks.get(conn, caller.user, task_id)
        return send(
            request,
            task,
            lambda: memory_of(request).get(
                ("statistics", task.id, task.revision),
                lambda: statistics_json(conn, task, services),
            ),
        )


def statistics_json(conn: Connection, task: Task, services: Services) -> bytes:
    return orjson.dumps(statistics.task_statistics(conn, task.id, most_helpers=services.settings.import_helpers))


@router.get("/api/tasks/{task_id}/stats/{chart}", responses=JSON)
def get_chart(
    request: Request,
    task_id: PathId,
    chart: Annotated[str, Path(description=f"One of {', '.join(CHARTS)}")],
    caller: CallerDep,
    services: ServicesDep,
) -> Response:
    """The numbers of one chart of the health check."""
    with services.storage.database.snapshot() as conn:
        task = tasks.get(conn, caller.user, task_id)
        if chart not in CHARTS:
            near = difflib.get_close_matches(chart, CHARTS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise NotFound("chart", chart, f'There is no chart "{shorten(chart)}"; there are {", ".join(CHARTS)}{hint}')
        whole = memory_of(request).get(
            ("statistics", task.id, task.revision),
            lambda: statistics_json(conn, task, services),
        )

    def body() -> bytes:
        found = orjson.loads(whole)
        about = {name: found[name] for name in ("task_id", "revision", "counted_share")}
        return orjson.dumps({**about, **{name: found[name] for name in CHARTS[chart]}})

    return send(request, task, body)


@router.get("/api/tasks/{task_id}/pictures", responses=JSON)
def list_pictures(
    request: Request,
    task_id: PathId,
    caller: CallerDep,
    services: ServicesDep,
    start: TextQuery = None,
    limit: TextQuery = None,
    search: TextQuery = None,
    label_id: TextQuery = None,
    annotated: TextQuery = None,
    subset: TextQuery = None,
    flag: TextQuery = None,
    attribute: TextQuery = None,
    holds: TextQuery = None,
    between: TextQuery = None,
    finding: TextQuery = None,
) -> Response:
    """A stretch of the list of pictures, as columns: frames, names, widths, heights, shapes, tags. `count` is the
    length of the whole list; deleted pictures are left out. `search` is part of a name, `label_id` a label that is on
    the picture, `annotated` whether anything is, `flag` a yes-or-no attribute that a shape on it says yes to,
    `attribute` a `name=value` that a shape or tag on it has, `holds` a `name=text` whose value holds the text (in any
    letter case), `between` a `name=low..high` whose value is a number from low to high (either may be left out),
    `finding` one of the health check's. Several of them narrow the list further."""
    first = parse_whole("start", start or "0", 0, 2**31)
    n_wanted = parse_whole("limit", limit or "100", 1, MAX_PICTURES)
    label = parse_whole("label_id", label_id, 0, 2**53) if label_id else None
    is_annotated = parse_flag("annotated", annotated) if annotated else None
    with services.storage.database.snapshot() as conn:
        task = tasks.get(conn, caller.user, task_id)
        chosen = Choice(
            search or "",
            label,
            is_annotated,
            subset,
            flag or "",
            parse_wish("attribute", attribute),
            parse_wish("holds", holds),
            parse_range(between),
            finding or "",
        )
        key = ("frames", task.id, task.revision, chosen)
        most_helpers = services.settings.import_helpers
        numbers = memory_of(request).get(key, lambda: chosen_frames(conn, task, chosen, most_helpers))
        page = numbers[first : first + n_wanted]
        body = orjson.dumps(described(conn, task, page, len(numbers)), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which pictures a list shows; neutral values leave none out."""

    search: str = ""
    label_id: int | None = None
    is_annotated: bool | None = None
    subset: str | None = None
    flag: str = ""
    attribute: tuple[str, str] | None = None
    holds: tuple[str, str] | None = None
    between: tuple[str, float, float] | None = None
    finding: str = ""


def parse_wish(place: str, text: str | None) -> tuple[str, str] | None:
    """ "color=red" → ("color", "red"). Raises InvalidInput."""
    if not text:
        return None
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InvalidInput(f'name=value is needed; got "{shorten(text)}"', place=place)
    return name.strip(), value.strip()


def parse_range(text: str | None) -> tuple[str, float, float] | None:
    """ "score=0.5.." → ("score", 0.5, inf). Raises InvalidInput."""
    wish = parse_wish("between", text)
    if wish is None:
        return None
    low, dots, high = wish[1].partition("..")
    try:
        if not dots:
            raise ValueError
        ends = float(low or "-inf"), float(high or "inf")
    except ValueError as error:
        message = f'name=low..high is needed, with numbers; got "{shorten(text or "")}"'
        raise InvalidInput(message, place="between") from error
    return wish[0], *ends


def in_range(low: float, high: float) -> Callable[[str], bool]:
    """Whether a value is a number within."""

    def fits(value: str) -> bool:
        try:
            return low <= float(value) <= high
        except ValueError:
            return False

    return fits


def chosen_frames(conn: Connection, task: Task, choice: Choice, most_helpers: int) -> statistics.Ints:
    """Ascending numbers of the pictures of a list."""
    table = frames.load(conn, task.id, with_names=bool(choice.search))
    kept = ~table.deleted

    def narrow(numbers: statistics.Ints, *, to_others: bool = False) -> None:
        is_in = np.zeros(len(kept), dtype=np.bool_)
        is_in[numbers] = True
        kept[is_in if to_others else ~is_in] = False

    if choice.search:
        narrow(statistics.frames_named(table, choice.search))
    if choice.subset is not None:
        narrow(statistics.frames_of_subset(conn, task.id, choice.subset))
    if choice.label_id is not None:
        narrow(statistics.frames_with_label(conn, task.id, choice.label_id))
    if choice.is_annotated is not None:
        narrow(statistics.frames_with_label(conn, task.id, None), to_others=not choice.is_annotated)
    if choice.flag:
        narrow(statistics.frames_with_flag(conn, task.id, choice.flag))
    if choice.attribute:
        narrow(statistics.frames_with_value(conn, task.id, *choice.attribute))
    if choice.holds:
        name, text = choice.holds
        narrow(statistics.frames_where(conn, task.id, name, lambda value: text.casefold() in value.casefold()))
    if choice.between:
        name, low, high = choice.between
        narrow(statistics.frames_where(conn, task.id, name, in_range(low, high)))
    if choice.finding:
        narrow(statistics.frames_with_finding(conn, task.id, choice.finding, most_helpers=most_helpers))
    return np.flatnonzero(kept)


def described(conn: Connection, task: Task, page: statistics.Ints, count: int) -> dict[str, Any]:
    if len(page) == 0:
        return {"count": count, **{name: [] for name in ("frames", "names", "widths", "heights", "shapes", "tags")}}
    start, stop = int(page[0]), int(page[-1]) + 1
    table = frames.load(conn, task.id, start, stop)
    # Filtered pages may lie far apart: then each picture is read by itself.
    if stop - start <= 4 * len(page):
        shapes, tags = statistics.frame_counts(conn, task.id, start, stop)
        shapes, tags = shapes[page - start], tags[page - start]
    else:
        pairs = [statistics.frame_counts(conn, task.id, frame, frame + 1) for frame in page.tolist()]
        shapes, tags = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return {
        "count": count,
        "frames": page,
        "names": table.names.take(page - start).to_texts(),
        "widths": table.widths[page - start],
        "heights": table.heights[page - start],
        "shapes": shapes,
        "tags": tags,
    }


@router.get("/api/tasks/{task_id}/pictures/{frame}", responses=JSON)
def get_picture(request: Request, task_id: PathId, frame: PathId, caller: CallerDep, services: ServicesDep) -> Response:
    """One picture: its name, size and subset, its annotations as LabeledData with tracks turned into shapes, and notes:
    what imported rows say of it that neither shapes nor tags show, such as captions and relationships."""
    with services.storage.database.snapshot() as conn:
        task = tasks.get(conn, caller.user, task_id)
        if frame >= task.size:
            raise NotFound("picture", frame)
        return send(request, task, lambda: picture_json(conn, task, frame))


def picture_json(conn: Connection, task: Task, frame: int) -> memoryview:
    """What is on it is read some rows at a time, and written as it is read: a task may have as many tracks as others
    have shapes."""
    table: FrameTable = frames.load(conn, task.id, frame, frame + 1)
    found = annotation_rows.load(conn, task.id, start=frame, stop=frame + 1, kinds=("images", "rows"))
    documents = {row.id: row.extras for row in annotation_rows.sets_of(conn, task.id) if row.extras is not None}
    told = notes_of(documents, found.rows.take(np.arange(min(len(found.rows), MAX_NOTES), dtype=np.int64)))
    about = {
        "frame": frame,
        "name": table.name(frame),
        "width": int(table.widths[0]),
        "height": int(table.heights[0]),
        "deleted": bool(table.deleted[0]),
        "subset": found.images.subsets.row(0) if len(found.images) else task.subset,
        "image_id": found.images.names.row_bytes(0).decode("utf-8") if len(found.images) else None,
    }
    about["n_notes"] = len(found.rows)
    about["notes"] = [
        {"kind": note.kind, "words": note.words, "file": note.file, "cells": dict(note.cells)} for note in told
    ]
    read = partial(
        annotation_rows.iterate,
        conn,
        task.id,
        batch_rows=READ_ROWS,
        batch_bytes=READ_BYTES,
        with_kept=False,
        cuts="anywhere",
    )
    here = partial(read, start=frame, stop=frame + 1)
    tracks = (expand_tracks(batch.tracks, frame, frame + 1) for batch in read(kinds=("tracks",)))
    shapes = chain((batch.shapes for batch in here(kinds=("shapes",))), tracks)
    labeled = encode(
        (batch.tags for batch in here(kinds=("tags",))),
        (part for part in shapes if len(part)),
        [],
        labels.of_task(conn, task.id),
    )
    text = bytearray(orjson.dumps(about)[:-1] + b',"annotations":')
    for piece in labeled:
        text += piece
    text += b"}"
    return memoryview(text)
