"""Polygons → pixels → PNGs, some hundred masks at a time, in this process or a helper's.

job   the polygons of each mask, the sizes of their frames, the PNGs that they once were
done  a PNG of frame size for each mask, none where the stored one has these pixels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from app.annotations import decoded_part
from app.columns import distinct, steps_within
from app.errors import TooLarge
from app.formats.open_images.mask_work import digest_of, glance_at
from app.formats.open_images.side_items import points_text, whole_points
from app.formats.open_images.side_pieces import Entry, fill_draft
from app.geometry import (
    PackedMask,
    bounding_boxes,
    equal_masks,
    find_flips,
    merge_masks,
    place_mask,
    polygons_to_masks,
    resize_mask,
    tighten_mask,
)
from app.images import decode_mask, encode_mask

Ids = npt.NDArray[np.int64]
Sizes = npt.NDArray[np.integer[Any]]

DRAWN_VALUES, DRAWN_BYTES = 1 << 17, 16 << 20
"""Coordinates of polygons that are drawn in one call, each edge takes some 200 bytes on the way, or bytes of their
pixels, which are there three times."""


class Drawn(NamedTuple):
    """One mask that was drawn, and has a pixel.

    Attributes:
        png: of its frame's size; None where its pixels are those of its stored PNG.
        edges: of the tight box, left, top, right, bottom, where somebody wants them.
        entry: of the side file, where there was a draft of it.
    """

    png: bytes | None
    edges: tuple[int, int, int, int] | None
    entry: Entry = b""


@dataclass(frozen=True, slots=True, eq=False)
class DrawJob:
    """Some masks.

    Attributes:
        points, offsets: of all polygons, as in `polygons_to_masks`; points may be whole numbers.
        owners: (P,) the mask that each polygon is a part of, ascending.
        widths, heights: (K,) of the frames.
        pngs, digests: the stored PNG of each mask that came as polygons, else nothing, and the digest of its pixels on
            the frame where that is noted.
        with_edges: see `Drawn`.
        drafts: of the side file's entry of each mask that is to get one here, else nothing.
        checks: for the first gap of the draft of a mask that keeps its stored PNG.
    """

    points: npt.NDArray[Any]
    offsets: Ids
    owners: Ids
    widths: Sequence[int]
    heights: Sequence[int]
    pngs: Sequence[bytes]
    digests: Sequence[int | None]
    with_edges: bool
    drafts: Sequence[bytes]
    checks: Sequence[bytes]


def draw_masks(job: DrawJob) -> list[Drawn | None] | None:
    """Each mask, None for one without a pixel; None in place of them all where a polygon is too complex."""
    owners, points = job.owners, whole_points(job.points)
    parts: list[list[PackedMask]] = [[] for _ in job.widths]
    widths, heights = np.array(job.widths, dtype=np.int64)[owners], np.array(job.heights, dtype=np.int64)[owners]
    for stretch in stretches(points, job.offsets, widths, heights):
        offsets = job.offsets[stretch.start : stretch.stop + 1]
        values = points[offsets[0] : offsets[-1]]
        try:
            masks = polygons_to_masks(values, offsets - offsets[0], widths[stretch], heights[stretch])
        except TooLarge:
            return None
        add_parts(parts, owners[stretch], masks)
    each = zip(parts, job.widths, job.heights, job.pngs, job.digests, strict=True)
    found = [
        finish_mask(some[0], width, height, png, digest, job.with_edges) if some else None
        for some, width, height, png, digest in each
    ]
    bounds, edges = np.searchsorted(owners, np.arange(len(found) + 1)).tolist(), job.offsets.tolist()
    for number, (drawn, draft) in enumerate(zip(found, job.drafts, strict=True)):
        if drawn is not None and draft:
            places = range(bounds[number], bounds[number + 1])
            texts = [points_text(points[edges[place] : edges[place + 1]]) for place in places]
            png = drawn.png
            check = job.checks[number] if png is None else b"%08x,%d" % (isal_zlib.crc32(png), len(png))
            found[number] = Drawn(png, drawn.edges, fill_draft(draft, check, texts))
    return found


def add_parts(parts: list[list[PackedMask]], owners: Ids, masks: Sequence[PackedMask | None]) -> None:
    """Add what was drawn of some masks to their parts, which are one from then on: a mask may have any number.

    Args:
        parts: of each mask; what there is of one is a list of one.
        owners: (N,) the mask that each is a part of.
    """
    for owner, mask in zip(owners.tolist(), masks, strict=True):
        if mask is not None:
            parts[owner].append(mask)
    for owner in distinct(owners).tolist():
        if len(parts[owner]) > 1:
            parts[owner] = [merge_masks(parts[owner])]


def stretches(points: npt.NDArray[Any], offsets: Ids, widths: Sizes, heights: Sizes) -> Iterator[slice]:
    """Polygons that are drawn together: up to DRAWN_VALUES coordinates or DRAWN_BYTES, or one that has more.

    Args:
        widths, heights: (N,) of their frames.
    """
    weights = np.diff(offsets) * (DRAWN_BYTES // DRAWN_VALUES)
    if packed_bytes(widths, heights).sum() > DRAWN_BYTES:  # else they fit, whatever their places are
        boxes = bounding_boxes(points, offsets)
        ends = np.minimum(boxes[:, 2:], np.stack([widths, heights], axis=1))
        spans = np.maximum(ends - np.maximum(boxes[:, :2], 0), 0).astype(np.int64)  # (N, 2)
        weights += packed_bytes(spans[:, 0], spans[:, 1])
    return steps_within(weights, DRAWN_BYTES)


def packed_bytes(widths: Sizes, heights: Sizes) -> Ids:
    """(N,) of masks of these sizes, about."""
    found: Ids = (widths.astype(np.int64) // 64 + 2) * 8 * (heights.astype(np.int64) + 2)
    return found


def finish_mask(
    mask: PackedMask, width: int, height: int, stored: bytes, digest: int | None, with_edges: bool
) -> Drawn:
    """The PNG of a mask, unless it is the stored one; see `DrawJob`."""
    tight = tighten_mask(mask) if with_edges else None
    edges = (tight.left, tight.top, tight.left + tight.width, tight.top + tight.height) if tight is not None else None
    # The same pixels are the same mask, whatever became of its outline.
    is_stored = bool(stored) and _is_stored(mask, width, height, stored, digest)
    return Drawn(None if is_stored else _png(mask, width, height), edges)


def _is_stored(mask: PackedMask, width: int, height: int, png: bytes, digest: int | None) -> bool:
    # What was drawn ends where its polygons do, so there is no smaller rectangle to look for.
    if digest is not None and (digest >> 16 != glance_at(mask) or digest != digest_of(find_flips(mask, is_tight=True))):
        return False
    kept = decode_mask(png)
    if (kept.width, kept.height) == (width, height) and kept.changes is None:
        return equal_masks(mask, decoded_part(kept))
    return equal_masks(mask, resize_mask(PackedMask(kept.rows, kept.width), width, height))


def _png(mask: PackedMask, width: int, height: int) -> bytes:
    """Of a mask on its frame. What was drawn lies at whole bytes of its frame's rows, and within it."""
    right, bottom = mask.left + mask.width, mask.top + mask.height
    if mask.left < 0 or mask.left % 8 or mask.top < 0 or right > width or bottom > height:
        return encode_mask(place_mask(mask, width, height).rows, width)
    return encode_mask(mask.rows, width, height, mask.top, mask.left // 8)
