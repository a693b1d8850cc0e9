"""Which PNG of an archive a row's MaskPath means.

    masks/<subset>/<MaskPath>   masks/<MaskPath>   masks/*/<MaskPath>   labels/masks/<X>/<MaskPath>   any, if unique

A folder that tells a subset (`masks/train/`, `train-masks-a/`, `train/labels/masks/A/`) is looked in first by its rows.

Source: Open Images reference 3.9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.annotations import TextLookup, nearest_texts, normalise_names
from app.columns import NarrowRagged, Ragged
from app.formats.base import hint_of_packed

Places = npt.NDArray[np.int64]

NOT_FOUND, SEVERAL = -1, -2
_SUBSET_FOLDERS = (
    re.compile(r"(?:^|/)([^/]+)/labels/masks/[^/]+/[^/]+$", re.IGNORECASE),
    re.compile(r"(?:^|/)(?<!labels/)masks/([^/]+)/[^/]+$", re.IGNORECASE),
    re.compile(
        r"(?:^|/)(?:challenge-\d{4}-)?([^/]+?)(?:-segmentation)?-masks-[0-9a-f](?:\.zip)?/(?:.*/)?[^/]+$", re.IGNORECASE
    ),
)
_TIERS = (
    re.compile(r"(?:^|/)(?<!labels/)masks/[^/]+$", re.IGNORECASE),
    re.compile(r"(?:^|/)(?<!labels/)masks/[^/]+/[^/]+$", re.IGNORECASE),
    re.compile(r"(?:^|/)labels/masks/[^/]+/[^/]+$", re.IGNORECASE),
)


def _subset_of(path: str) -> str:
    found = (pattern.search(path) for pattern in _SUBSET_FOLDERS)
    return next((match[1] for match in found if match), "")


class MaskFiles:
    """The PNG members of an archive, by name; `others` are those that nobody reads.

    Attributes:
        paths: of all of them; places below are indices into it.
        used: (P,) bool, which of them a row names; readers set it.
    """

    def __init__(self, paths: Sequence[str], others: Sequence[str] = ()) -> None:
        self.paths = [path for path in paths if path.lower().endswith(".png")]
        self._given, self._others = paths, others
        self.used = np.zeros(len(self.paths), dtype=np.bool_)

    def subset(self, place: int) -> str:
        """The subset that the folder of a PNG tells, "" where it tells none."""
        return _subset_of(self.paths[place])

    @cached_property
    def _bases(self) -> NarrowRagged:
        """The name of each without its folders."""
        return NarrowRagged.of(Ragged.from_bytes([path.rpartition("/")[2].encode() for path in self.paths]))

    @cached_property
    def _by_base(self) -> TextLookup:
        return TextLookup(self._bases)

    def forget(self) -> None:
        """Let go of what `find` needs, some 70 bytes a PNG."""
        for name in ("_bases", "_by_base", "_by_subset"):
            self.__dict__.pop(name, None)

    @cached_property
    def _by_subset(self) -> tuple[TextLookup, Places]:
        """PNGs by `subset/name`, and the place of each: needed where a name is there twice."""
        told = [(place, subset) for place in range(len(self.paths)) if (subset := self.subset(place))]
        names = [f"{subset}/{self.paths[place].rpartition('/')[2]}".encode() for place, subset in told]
        return TextLookup(Ragged.from_bytes(names)), np.array([place for place, _ in told], dtype=np.int64)

    def find(self, names: Ragged, subset: str | None) -> Places:
        """(N,) int64, the place of each MaskPath, or NOT_FOUND or SEVERAL.

        Args:
            names: (N,) bytes, plain file names.
            subset: of the rows, as far as the table tells.
        """
        names = normalise_names(names)
        found = np.full(len(names), NOT_FOUND, dtype=np.int64)
        groups = self._by_base.find(names)
        hit = np.flatnonzero(groups >= 0)
        single = hit[self._by_base.sizes[groups[hit]] == 1]
        found[single] = self._by_base.firsts[groups[single]]
        several = hit[self._by_base.sizes[groups[hit]] > 1]
        if len(several) and subset:
            prefix = np.frombuffer(f"{subset}/".encode(), dtype=np.uint8)
            asked = names.take(several)
            own = Ragged.from_bytes([prefix.tobytes() + text for text in asked.to_bytes_list()])
            by_subset, places = self._by_subset
            at = by_subset.find(own)
            one = by_subset.counts(at) == 1
            found[several[one]] = places[by_subset.firsts[at[one]]]
            several = several[~one]
        for row in several.tolist():
            found[row] = self._choose(groups[row : row + 1])
        return found

    def _choose(self, group: Places) -> int:
        """The first kind of folder that holds the name decides, if it holds it once."""
        _, places = self._by_base.members(group)
        for tier in _TIERS:
            here = [place for place in places.tolist() if tier.search(self.paths[place])]
            if here:
                return here[0] if len(here) == 1 else SEVERAL
        return SEVERAL

    @cached_property
    def no_pngs(self) -> dict[str, str]:
        """Paths of pictures that are no PNGs, by the name alone; for messages."""
        others = (path for path in self._given if not path.lower().endswith(".png"))
        return {path.rpartition("/")[2]: path for path in others}

    @cached_property
    def hint(self) -> str:
        """Why a PNG may be missing, where nothing has a name like it; for messages."""
        return hint_of_packed(self._others) or ("" if self.paths else "; there are no masks in the zip")

    def nearest(self, name: str) -> list[str]:
        """Names of PNGs that look like one; for messages."""
        return nearest_texts(name, self._bases)
