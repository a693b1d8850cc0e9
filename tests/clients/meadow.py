"""The archive that the exchange tests import, and what it means for the task `LABELS` with the pictures `SIZES`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.samples import LABELS, Mask, OpenImages, disk_with_hole, mask_png, runs_of

SIZES = {"a.png": (64, 48), "b.jpg": (80, 60), "c d.png": (40, 50)}
DUCK = "/m/0duck"


def two_parts() -> Mask:
    mask = np.zeros((50, 40), dtype=np.bool_)
    mask[3:9, 2:7] = True
    mask[9, 6] = True
    mask[10:30, 7:20] = True  # touches the first part at a corner only
    mask[40:44, 30] = True
    return mask


def small() -> Mask:
    mask = np.zeros((30, 40), dtype=np.bool_)
    mask[5:20, 10:33] = True
    mask[8:11, 12:20] = False
    return mask


RING = disk_with_hole(64, 48, 20, 7)
PARTS = two_parts()
HALF = small()
"""At half the size of its picture, as most published masks are smaller than theirs."""
HALF_GROWN = HALF.repeat(2, axis=0).repeat(2, axis=1)


def archive() -> OpenImages:
    """Boxes with every flag, linked and unlinked masks, tags that say yes, no and perhaps."""
    built = OpenImages(classes=[("cat", "cat"), ("dog", "dog"), (DUCK, "Ente, groß")])
    built.images = [("a", "default"), ("b", "default"), ("c d", "default")]
    built.box("a", "cat", ("0.125", "0.5", "0.25", "0.75"), "1 0 -1 1 0")
    built.box("b", "dog", ("0.1", "0.9", "0.1", "0.9"), "0 1 1 -1 -1")
    built.box("b", DUCK, ("0", "1", "0", "1"))
    built.tag("a", "cat", "0.25", source="machine")
    built.tag("b", "dog", "0.7", source="verification")
    built.tag("b", "cat", "0", source="verification")
    built.tag("c d", "dog", "0", source="crowdsource-verification")
    built.tag("c d", DUCK, "1")
    built.mask("a", "cat", "e16d01b9", mask_png(RING), ("0.125", "0.5", "0.25", "0.75"), "0.85123")
    built.mask("c d", "dog", "0000000a", mask_png(PARTS, kind="zero-one"))
    built.mask("b", "dog", "0000000b", mask_png(HALF, kind="grey"), ("0.1", "0.9", "0.1", "0.9"), "0.5")
    return built


CAT, DOG, ENTE = (label["name"] for label in LABELS)
PLAIN_CAT: dict[str, str] = {
    "occluded": "false", "truncated": "false", "is_group_of": "false", "is_depiction": "false", "is_inside": "false",
    "score": "", "box_id": "", "predicted_iou": "0", "side": "left", "mood": "calm", "note": "none yet",
}  # fmt: skip


def tags() -> list[dict[str, Any]]:
    """The dog that is verified absent makes no tag: its label has no `score` that could say so."""
    return [
        {"frame": 0, "label": CAT, "attributes": {**PLAIN_CAT, "score": "0.25"}},
        {"frame": 1, "label": DOG, "attributes": {}},
        {"frame": 1, "label": CAT, "attributes": {**PLAIN_CAT, "score": "0"}},
        {"frame": 2, "label": ENTE, "attributes": {"score": "1"}},
    ]


def boxes() -> list[dict[str, Any]]:
    flagged = {**PLAIN_CAT, "occluded": "true", "is_depiction": "true", "score": "1"}
    return [
        {"frame": 0, "label": CAT, "points": [8, 12, 32, 36], "occluded": True, "attributes": flagged},
        {"frame": 1, "label": DOG, "points": [8, 6, 72, 54], "occluded": False, "attributes": {}},
        {"frame": 1, "label": ENTE, "points": [0, 0, 80, 60], "occluded": False, "attributes": {"score": "1"}},
    ]


def masks() -> list[dict[str, Any]]:
    ring = {**PLAIN_CAT, "box_id": "e16d01b9", "predicted_iou": "0.85123"}
    return [
        {"frame": 0, "label": CAT, "points": runs_of(RING), "attributes": ring, "linked": True},
        {"frame": 1, "label": DOG, "points": runs_of(HALF_GROWN), "attributes": {}, "linked": True},
        {"frame": 2, "label": DOG, "points": runs_of(PARTS), "attributes": {}, "linked": False},
    ]
