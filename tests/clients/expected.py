"""Annotations that can be compared: names for ids, one value for each thing, groups as who belongs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Plain = dict[str, Any]


def names_of(labels: Sequence[Plain]) -> tuple[dict[int, str], dict[int, str]]:
    """Label names by id, attribute names by id (those of sublabels too)."""
    every = [each for label in labels for each in (label, *label.get("sublabels", ()))]
    return (
        {label["id"]: label["name"] for label in every},
        {spec["id"]: spec["name"] for label in every for spec in label["attributes"]},
    )


def readable(annotations: Mapping[str, Any], labels: Sequence[Plain]) -> dict[str, list[Plain]]:
    """Tags and shapes with names in place of ids, without ids; `group` is the index of the first member, None for 0."""
    label_names, spec_names = names_of(labels)
    result: dict[str, list[Plain]] = {"tags": [], "shapes": []}
    firsts: dict[tuple[int, int], str] = {}
    for kind, listed in result.items():
        for index, each in enumerate(annotations[kind]):
            value: Plain = {
                "frame": each["frame"],
                "label": label_names[each["label_id"]],
                "attributes": {spec_names[a["spec_id"]]: a["value"] for a in each["attributes"]},
                "group": None,
            }
            if each["group"]:
                value["group"] = firsts.setdefault((each["frame"], each["group"]), f"{kind} {index}")
            if kind == "shapes":
                value |= {key: each[key] for key in ("type", "points", "occluded", "outside", "z_order", "rotation")}
            listed.append(value)
    return result


def defaults(label: Plain) -> dict[str, str]:
    """What a label's attributes are when nobody said anything, by CVAT's rules for its input types."""
    values = {}
    for spec in label["attributes"]:
        values[spec["name"]] = spec["values"][0] if spec["values"] else ""
    return values


def same_points(left: Sequence[float], right: Sequence[float]) -> bool:
    """Coordinates that agree to the millionth pixel, as far as the format's texts and the service's rounding go."""
    return len(left) == len(right) and all(abs(a - b) <= 1e-6 for a, b in zip(left, right, strict=True))
