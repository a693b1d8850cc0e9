"""Which PNG of an archive a row's MaskPath means.

    masks/<subset>/<MaskPath>   masks/<MaskPath>   masks/*/<MaskPath>   labels/masks/<X>/<MaskPath>   any, if unique

A folder that tells a subset (`masks/train/`, `train-masks-a/`, `train/labels/masks/A/`) is looked in first by its rows.

Source: Open Images reference 3.9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.annotations import TextLookup, nearest_texts, normalise_names
from app.columns import Ragged

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
    """The PNG members of an archive, by name.

    Attributes:
        paths: of all of them; places below are indices into it.
        subsets: the subset that the folder of each tells, "" where it tells none.
        used: (P,) bool, which of them a row names; readers set it.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = [path for path in paths if path.lower().endswith(".png")]
        self.subsets = [_subset_of(path) for path in self.paths]
        bases = [path.rpartition("/")[2] for path in self.paths]
        self._bases = Ragged.from_bytes([base.encode() for base in bases])
        self._by_base = TextLookup(self._bases)
        in_subset = [(i, f"{s}/{b}") for i, (s, b) in enumerate(zip(self.subsets, bases, strict=True)) if s]
        self._subset_places = np.array([place for place, _ in in_subset], dtype=np.int64)
        self.used = np.zeros(len(self.paths), dtype=np.bool_)
        self._by_subset = TextLookup(Ragged.from_bytes([name.encode() for _, name in in_subset]))

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
            at = self._by_subset.find(own)
            one = self._by_subset.counts(at) == 1
            found[several[one]] = self._subset_places[self._by_subset.firsts[at[one]]]
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

    def nearest(self, name: str) -> list[str]:
        """Names of PNGs that look like one; for messages."""
        return nearest_texts(name, self._bases)
