"""Points to rows of the point label table, a row for each point: kept cells where nothing changed, new ones else.

A shape of several points is as many point labels: other readers get each of them, and the side file says which belong
together. Whoever draws a point says yes: a new row has `yes`, one vote for it and none against, unless attributes say
otherwise. (Readers refuse empty votes.)

Source: Open Images reference 1.3 (columns); edit rules as of boxes (5): a moved point has another place, else nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.annotations import Edit, Kept, Shapes, ShapeType
from app.columns import Cells, CSVBlock, Ragged, decode_texts, encode_numbers
from app.errors import Problem, shorten
from app.formats.open_images.attributes import is_silent, plain_decimal, same_value
from app.formats.open_images.kept_rows import (
    SIDE,
    Columns,
    Mask,
    TableRows,
    is_kind,
    kept_columns,
    kept_lines,
    map_texts,
    only_kept,
    put,
    table_rows,
)
from app.formats.open_images.kept_rows import Rows as Places
from app.formats.open_images.layout import HIGHEST, LOWEST, POINT_ATTRIBUTES, POINT_PLACE
from app.formats.open_images.plan import Plan
from app.formats.open_images.write_boxes import Pairs, clip_and_tell, id_cells, label_cells
from app.geometry import points_to_norm

if TYPE_CHECKING:
    from app.formats.open_images.side_write import SideWriter

NEW = {"EstimatedYesNo": "yes", "YesVotes": "1", "NoVotes": "0", "UnsureVotes": "0"}
ANSWERS = ("yes", "no", "unsure")
VOTES = ("YesVotes", "NoVotes", "UnsureVotes")
MAX_VOTE_DIGITS = 9


def point_rows(
    plan: Plan, batches: Iterator[Shapes], subset: str | None, columns: Sequence[str], side: SideWriter | None = None
) -> Iterator[TableRows]:
    """The rows of the subset's point table, in the order of the shapes."""
    for shapes in batches:
        chosen = np.flatnonzero((shapes.types == ShapeType.POINTS) & plan.chosen_shapes(shapes, subset))
        if not len(chosen):
            continue
        need = side.needed(shapes)[chosen] if side is not None else np.zeros(len(chosen), dtype=np.bool_)
        whole = shapes.take(chosen)
        points, of = one_point_each(whole)
        is_lone = whole.points.lengths[of] == 2
        lines = kept_lines(
            plan, points.kept, points.frames, np.flatnonzero(is_lone & ~need[of]), ("points",), columns, _is_plain
        )
        everything = np.arange(len(points), dtype=np.int64)
        rest = lines.others(everything)
        cells = point_columns(plan, points.take(rest), columns)
        if side is not None and len(rest):
            cells[SIDE] = side.point_entries(whole, of, rest, need, cells)
        yield table_rows(points.frames, everything, lines, cells, columns)


def one_point_each(shapes: Shapes) -> tuple[Shapes, Places]:
    """Shapes of one point each, and (R,) which shape each is of. What was kept stays with the first of a shape."""
    counts = shapes.points.lengths // 2  # (S,)
    of = np.repeat(np.arange(len(shapes), dtype=np.int64), counts)  # (R,)
    if len(of) == len(shapes):
        return shapes, of
    is_first = np.diff(of, prepend=-1) > 0
    points = Ragged(shapes.points.values, np.arange(len(of) + 1, dtype=np.int64) * 2)
    spread = shapes.replace(points=Ragged.empty(np.float64, len(shapes))).take(of)
    kept = Kept.concatenate([shapes.kept, Kept.empty(1)]).take(np.where(is_first, of, len(shapes)))
    return spread.replace(points=points, kept=kept), of


def _is_plain(block: CSVBlock, places: Places) -> Mask:
    """Nothing that a row was read with keeps others from reading it."""
    return np.ones(len(places), dtype=np.bool_)


def norm_points(plan: Plan, points: Shapes) -> npt.NDArray[np.float64]:
    """(N, 2) x y of shapes of one point as shares of their frame, within the range that readers take."""
    return np.clip(_shares(plan, points), LOWEST, HIGHEST)


def _shares(plan: Plan, points: Shapes) -> npt.NDArray[np.float64]:
    widths, heights = plan.sizes_of(points.frames)
    return points_to_norm(points.points.values.reshape(-1, 2), widths, heights)


def point_columns(plan: Plan, points: Shapes, columns: Sequence[str]) -> Columns:
    """The cells of shapes of one point each, by column."""
    edits = points.kept.edits
    imported = is_kind(plan, points.kept, "points")
    if not imported.all():  # what was kept of another table says nothing here
        points = points.replace(kept=only_kept(points.kept, imported))
    cells = kept_columns(plan, points.kept, columns)
    cells["ImageId"] = id_cells(plan, cells["ImageId"], points.frames)
    cells["Label"] = label_cells(plan, cells["Label"], points.label_ids, imported, edits)
    moved = np.flatnonzero(~imported | (edits & Edit.GEOMETRY != 0))
    if len(moved):
        part = points.take(moved)
        places = clip_and_tell(plan, part, _shares(plan, part), "points lie")
        for axis, name in enumerate(POINT_PLACE):
            cells[name] = put(cells[name], moved, encode_numbers(np.ascontiguousarray(places[:, axis])))
    _attribute_cells(plan, points, cells, ~imported, imported & (edits & (Edit.ATTRIBUTES | Edit.LABEL) != 0))
    return cells


def _attribute_cells(plan: Plan, points: Shapes, cells: Columns, new: Mask, edited: Mask) -> None:
    """Votes, answer, source and text of rows whose attributes speak, in place."""
    for rows, rule in ((np.flatnonzero(new), new_point_rule), (np.flatnonzero(edited), edited_point_rule)):
        if not len(rows):
            continue
        places, pairs = plan.decoder.pairs(points.label_ids[rows], points.attributes.take(rows))
        for column in POINT_ATTRIBUTES:
            kept = decode_texts(Cells.of(cells[column].take(rows)))
            cells[column] = put(cells[column], rows, map_texts(places, kept, rule(plan, pairs, column)))


def new_point_rule(plan: Plan, pairs: Pairs, column: str) -> Callable[[int, str], str]:
    """A cell of a new row: what a person sees, a default as well; else what a drawn point says."""
    name = POINT_ATTRIBUTES[column]

    def cell(pair: int, kept: str) -> str:
        label_id, values = pairs[pair]
        spec = plan.decoder.spec(label_id, name)
        value = values.get(name, spec.default_value if spec is not None else "")
        return _cell(plan, label_id, column, value, NEW.get(column, ""))

    return cell


def edited_point_rule(plan: Plan, pairs: Pairs, column: str) -> Callable[[int, str], str]:
    """A cell of an imported row: the attribute where it says something else than the cell."""
    name = POINT_ATTRIBUTES[column]

    def cell(pair: int, kept: str) -> str:
        label_id, values = pairs[pair]
        spec, value = plan.decoder.spec(label_id, name), values.get(name)
        if value is None or same_value(value, kept.strip()):
            return kept
        if is_silent(spec, value, kept):
            return kept
        return _cell(plan, label_id, column, value, kept)

    return cell


def _cell(plan: Plan, label_id: int, column: str, value: str, otherwise: str) -> str:
    """The cell that an attribute's value asks for; one that no reader takes is told, and not written."""
    text = value.strip()
    if not text:
        return otherwise
    if column in VOTES:
        votes = plain_decimal(text)
        if votes is not None and votes.isdigit() and len(votes) <= MAX_VOTE_DIGITS:
            return votes
        wanted = "a number of votes"
    elif column == "EstimatedYesNo":
        if text.casefold() in ANSWERS:
            return text.casefold()
        wanted = "yes, no or unsure"
    else:
        return value
    label, name = plan.target.labels.by_id[label_id].name, POINT_ATTRIBUTES[column]
    message = f'{name} of label "{shorten(label)}" is "{shorten(value)}", not {wanted}; "{otherwise}" was written'
    plan.report.add_many([Problem("export.bad_attribute", message, "warning", value=shorten(value))], 1)
    return otherwise
