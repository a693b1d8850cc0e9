"""Names that become parts of paths: subsets, mask files, image ids.

Source: Open Images reference 3.4, 3.9, 4.2, 4.7; reliability section 8.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.formats.open_images.layout import DEFAULT_SUBSET

MAX_PART_BYTES = 255
"""Longest name of a file on common systems, and what our own reader takes."""
MAX_SUBSET_BYTES = 128
_LABEL_ROOM, _ID_ROOM, _BOX_ROOM = 60, 120, 40

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_FORBIDDEN = re.compile(r"[/\\\x00]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_VERSION = re.compile(r"(?:oidv[0-9]+|challenge-[0-9]{4})-", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)


def is_plain_name(text: str) -> bool:
    """Whether a text can be one component of a path: not empty, not `.` or `..`, no slash, backslash or NUL."""
    return bool(text) and text not in (".", "..") and _FORBIDDEN.search(text) is None


def are_plain_names(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(N,) bool, `is_plain_name` of each."""
    if _FORBIDDEN.search("".join(texts)) is None:
        return np.array([text not in ("", ".", "..") for text in texts], dtype=np.bool_)
    return np.array(list(map(is_plain_name, texts)), dtype=np.bool_)


def clean_subset(text: str, is_first: bool = False) -> str:
    """A task's subset as it can begin a file's name and name a folder; the same text where it can already.

    `oidv7-` or `challenge-2019-` in front would be read as a version, `._` as clutter of a desktop, and `a:` as a drive
    where the subset is the first part of paths (`is_first`).
    """
    cleaned = composed(_CONTROL.sub("-", _FORBIDDEN.sub("-", text)))
    if _VERSION.match(cleaned) or cleaned.startswith("._") or (is_first and _DRIVE.match(cleaned)):
        cleaned = f"_{cleaned}"
    cleaned = cleaned.encode()[:MAX_SUBSET_BYTES].decode("utf-8", "ignore")
    return DEFAULT_SUBSET if cleaned in ("", ".", "..") else cleaned


def fold_name(text: str) -> str:
    """The key under which two names count as one: letter case and composition do not part them."""
    return text.lower() if text.isascii() else composed(text.casefold())


def composed(text: str) -> str:
    """A text in NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def mask_stem(image: str, label: str, box_id: str) -> str:
    """The file name of a mask without `.png`: `<image>_<label>_<box id>` in plain characters.

    Labels lose other characters (`/m/0` → `m0`), ids get `-` for them.
    """
    image_part = _NOT_PLAIN.sub("-", image)[:_ID_ROOM]
    label_part = _NOT_PLAIN.sub("", label)[:_LABEL_ROOM]
    box_part = _NOT_PLAIN.sub("-", box_id)[:_BOX_ROOM]
    stem = f"{image_part}_{label_part}_{box_part}"
    if stem.startswith("."):
        stem = "-" + stem[1:]
    return "-" + stem if _RESERVED.match(stem) else stem


def is_safe_box_id(text: str) -> bool:
    """Whether a BoxID can stand in a row: datumaro refuses slashes, backslashes, NUL and dots alone."""
    return is_plain_name(text) and _CONTROL.search(text) is None
