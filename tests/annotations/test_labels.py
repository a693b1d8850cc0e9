"""What a catalog says of all its labels is the same as label by label."""

from __future__ import annotations

from app.annotations import AttributeSpec, Label, LabelCatalog

SPECS = (AttributeSpec(5, "side", False, "text", "left", ()), AttributeSpec(6, "ü", True, "text", "", ()))
ARM = Label(40, "arm", "#000", "any", SPECS[:1], parent_id=9)
CATALOG = LabelCatalog(
    (
        Label(30, "car", "#f00", "any", SPECS),
        Label(9, "person", "#0f0", "skeleton", (), (ARM,)),
        Label(12, "tree", "#00f", "any"),
    )
)


def test_what_all_labels_say_is_what_each_says() -> None:
    assert CATALOG.top_ids.tolist() == [9, 12, 30]
    ids, sizes = CATALOG.default_sizes
    assert ids.tolist() == [9, 12, 30, 40]
    for label_id, size in zip(ids.tolist(), sizes.tolist(), strict=True):
        specs = CATALOG.by_id[label_id].attributes
        assert size == sum(len('{"spec_id":1234567,"value":""},') + len(spec.default_value) for spec in specs)
    none = LabelCatalog(())
    assert [len(none.top_ids), *map(len, none.default_sizes)] == [0, 0, 0]
