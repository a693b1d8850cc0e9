"""What tracks say of the shapes that they show beside what rows can: attributes and a group.

A track that does not fit comes back as the shapes of its rows. Each gets the track's group and attributes; of those
that change along the track only what holds for it surely: all that its own key frame says, and what all key frames
agree on (what lies between two of them may have changed places).

Source: Open Images reference 4.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from app.annotations import Label, Shapes
from app.columns import Texts
from app.formats.open_images.attributes import attributes_text
from app.formats.open_images.side_items import Item, ItemCodec, need

Ids = npt.NDArray[np.int64]
Find = Callable[[Iterable[str]], Mapping[str, int]]
Values = dict[int, str]
"""Attribute values by spec id."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What one track says."""

    label_id: int
    group: int
    everywhere: Values
    at_keys: Mapping[int, Values]  # by frame, where that is more


class TrackWords:
    """Of the tracks that are added; one that says nothing is as one that is not there."""

    def __init__(self, codec: ItemCodec) -> None:
        self._codec = codec
        self._said: dict[int, _Said] = {}

    def add(self, number: int, entry: Item, find: Find, own_group: Callable[[int], int]) -> None:
        """A track by its number. Raises BadItem, or what else an item of another form leads to.

        Args:
            find: image ids to frame numbers, of those that are there.
        """
        label = self._codec.label_of(entry)
        group = entry.get("group", 0)
        need(type(group) is int and group >= 0, "group is no integer")
        own = self._values(entry, label)
        keys = [(key["image"], self._values(key, label)) for key in entry["body"]["shapes"]]
        shared = dict(keys[0][1]) if keys else {}
        for _, values in keys[1:]:
            shared = {spec: value for spec, value in shared.items() if values.get(spec) == value}
        more = {image: {**values, **own} for image, values in keys if len(values) > len(shared)}
        at_keys = {frame: more[image] for image, frame in find(more).items()} if more else {}
        said = _Said(label.id, own_group(group), {**shared, **own}, at_keys)
        if said.group or said.everywhere or said.at_keys:
            self._said[number] = said

    def _values(self, item: Item, label: Label) -> Values:
        return {one["spec_id"]: one["value"] for one in self._codec.values_of(item, label)}

    def tell(self, owners: Ids, tables: Ids, shapes: Shapes) -> Shapes:
        """The shapes with what their tracks say; `tables`: the number of the table of rows that say less, for each."""
        groups, numbers = shapes.groups.copy(), shapes.kept.tables.copy()
        texts, known = shapes.attributes.to_list(), dict[tuple[int, int, str], str]()
        are_told = np.isin(owners, np.fromiter(self._said, dtype=np.int64, count=len(self._said)))
        for row in np.flatnonzero(are_told).tolist():
            owner, frame = int(owners[row]), int(shapes.frames[row])
            said = self._said[owner]
            if said.label_id != shapes.label_ids[row]:
                continue
            key = owner, frame if frame in said.at_keys else -1, texts[row]
            if key not in known:
                told = {one["spec_id"]: one["value"] for one in orjson.loads(texts[row])}
                known[key] = attributes_text({**told, **said.at_keys.get(frame, said.everywhere)})
            texts[row] = known[key]
            groups[row] = said.group or groups[row]
            numbers[row] = tables[row]
        kept = shapes.kept.replace(tables=numbers)
        return shapes.replace(groups=groups, attributes=Texts.from_list(texts), kept=kept)
