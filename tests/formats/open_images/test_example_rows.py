"""Rows as the data set's own pages show them, each table family by itself and all together: in, through a stored task,
and out again, letter by letter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.desk import Desk, TaskDesk
from tests.formats.builders import zip_of
from tests.formats.open_images.parts import rectangle_png

MASK = "25adb319ebc72921_m02mqfb_8423020a.png"
CLICKS = "0.15808 0.26206 1;0.90333 0.42076 0;0.17578 0.65566 1;0.00761 0.77237 1"
FAMILIES: Mapping[str, str] = {
    "annotations/train-annotations-bbox.csv": """\
ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside,\
XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y
000002b66c9c498e,xclick,/m/01g317,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0,\
0.148438,0.012500,0.059375,0.195312,0.148438,0.357812,0.587500,0.325000
000002b66c9c498e,activemil,/m/0284d,1,0.207813,0.403125,0.216000,0.592000,0,0,1,-1,0,\
-1.000000,-1.000000,-1.000000,-1.000000,-1.000000,-1.000000,-1.000000,-1.000000
""",
    "annotations/validation-annotations-bbox.csv": """\
ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.022673031,0.9642005,0.07103825,0.80054647,0,0,0,0,0
000595fe6fee6369,xclick,/m/02xwb,1,0.45655376,0.6097202,0.20399113,0.50554323,0,0,1,0,0
00075905539074f2,xclick,/m/04yx4,1,0.020477816,0.32935154,0.0956023,0.665392,0,0,0,1,0
000a1249af2bc5f0,xclick,/m/09j2d,1,0.56911767,0.99852943,0.0022172949,0.93569845,1,1,0,0,0
""",
    "annotations/train-annotations-human-imagelabels.csv": """\
ImageID,Source,LabelName,Confidence
000026e7ee790996,verification,/m/04hgtk,0
000026e7ee790996,verification,/m/07j7r,1
000026e7ee790996,crowdsource-verification,/m/01bqvp,1
000026e7ee790996,crowdsource-verification,/m/0csby,1
""",
    "annotations/train-annotations-machine-imagelabels.csv": """\
ImageID,Source,LabelName,Confidence
000002b66c9c498e,machine,/m/05_4_,0.7
000002b66c9c498e,machine,/m/0krfg,0.7
000002b66c9c498e,machine,/m/01kcnl,0.5
""",
    "annotations/train-annotations-object-segmentation.csv": f"""\
MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks
{MASK},25adb319ebc72921,/m/02mqfb,8423020a,0.000000,0.998438,0.089062,0.770312,0.62821,{CLICKS}
""",
    "annotations/train-annotations-vrd.csv": """\
ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationLabel
0009fde62ded08a6,/m/0342h,/m/01d380,0.2682927,0.78549093,0.4977778,0.8288889,0.2682927,0.78549093,0.4977778,0.8288889,is
00198353ef684011,/m/01mzpv,/m/04bcr3,0.23779725,0.30162704,0.6500938,0.7335835,0,0.5819775,0.6482176,0.99906194,at
001e341dd7456c70,/m/04yx4,/m/01mzpv,0.07009346,0.2859813,0.2332708,0.5203252,0.14018692,0.31588784,0.30018762,0.72157598,on
""",
    "annotations/train-annotations-point-labels.csv": """\
ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel
000026e7ee790996,0.42,0.4125,/m/04yx4,yes,ih,4,0,0,
000026e7ee790996,0.1875,0.8,/m/0cmf2,no,cc,0,3,0,"man, standing"
000002b66c9c498e,0.96,0.04,/m/09j2d,unsure,ff,1,1,1,clothing
""",
    "annotations/train-images-with-rotation.csv": """\
ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,\
Thumbnail300KURL,Rotation
000060e3121c7305,train,https://c1.staticflickr.com/5/4129/5215831864_46f356962f_o.jpg,\
https://www.flickr.com/photos/brokentaco/5215831864,https://creativecommons.org/licenses/by/2.0/,\
https://www.flickr.com/people/brokentaco/,"David","28 Nov 2010 Our new house.",211079,0Sad+xMj2ttXM1U8meEJ0A==,\
https://c1.staticflickr.com/5/4129/5215831864_ee4e8c6535_z.jpg,0
""",
    "annotations/class-descriptions.csv": """\
/m/0pc9,Alphorn
/m/02mqfb,Apron
/m/02wvth,"Fiat 500 ""topolino""\"
/m/01gtcxp,Öland
""",
    "open_images_train_v6_localized_narratives-00000-of-00010.jsonl": """\
{"dataset_id": "mscoco_val2017", "image_id": "000002b66c9c498e", "annotator_id": 93, \
"caption": "In this image there are group of cows standing.", \
"timed_caption": [{"utterance": "In this", "start_time": 0.0, "end_time": 0.4}], \
"traces": [[{"x": 0.2086, "y": -0.0533, "t": 0.022}, {"x": 0.2086, "y": -0.0533, "t": 0.022}]], \
"voice_recording": "coco_val/coco_val_137576_93.ogg"}
""",
    "annotations/oidv6-relationship-triplets.csv": "LabelName1,LabelName2,RelationshipLabel\n/m/0342h,/m/01d380,is\n",
    "annotations/oidv6-relationships-description.csv": "at,at\nholds,holds\n",
    "annotations/bbox_labels_600_hierarchy.json": '{"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/0242l"}'
    ', {"LabelName": "/m/03120", "Part": [{"LabelName": "/m/0pc9"}]}]}',
}
"""The first of each family by the names that our own exports have, so that names can be compared as well."""
LABELS = sorted(
    {word for text in FAMILIES.values() for word in text.replace("\n", ",").split(",") if word[:3] == "/m/"}
)
IDS = sorted(
    {
        word
        for text in FAMILIES.values()
        for word in text.replace("\n", ",").split(",")
        if len(word) == 16 and word.isalnum()
    }
)
FULL = ("score", "source", "box_id", "predicted_iou", "estimated_yes_no", "yes_votes", "no_votes", "text_label")
FLAGS = ("occluded", "truncated", "is_group_of", "is_depiction", "is_inside")
SPECS = [
    *({"name": name, "mutable": False, "input_type": "text", "values": [""]} for name in FULL),
    *({"name": name, "mutable": False, "input_type": "checkbox", "values": ["false"]} for name in FLAGS),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(tmp_path_factory.mktemp("examples")) as opened:
        yield opened


def new_task(desk: Desk, specs: list[dict[str, object]]) -> TaskDesk:
    frames = {f"{name}.jpg": (1024, 683 + at) for at, name in enumerate(IDS)}
    return desk.task(frames, [{"name": name, "attributes": specs} for name in LABELS])


def bring(task: TaskDesk, names: list[str], **options: str) -> dict[str, bytes]:
    png = rectangle_png(640, 427, 0, 40, 600, 300)
    members: dict[str, str | bytes] = {name: FAMILIES[name] for name in names}
    task.bring(zip_of({**members, f"masks/train/{MASK}": png}), **options)
    written = task.export()
    assert written[f"masks/train/{MASK}"] == png
    return written


def assert_there(written: Mapping[str, bytes], name: str) -> None:
    """Each line of the table is a line of what was written, the header too, as often as it was there."""
    if name.endswith((".jsonl", ".json")) or "oidv6" in name:
        assert written[name].decode() == FAMILIES[name]
        return
    found = written[name].decode().splitlines()
    for line in FAMILIES[name].splitlines():
        assert line in found, f"{name}: {line}"
        found.remove(line)
    header, *_ = FAMILIES[name].splitlines()
    if "class" not in name:
        assert written[name].decode().splitlines()[0] == header
        assert not found or "images" in name, "no row beside those that came"


@pytest.mark.parametrize("specs", [[], SPECS], ids=["no attributes", "every attribute"])
@pytest.mark.parametrize("machine", ["keep", "tags"])
def test_all_example_rows_come_back(desk: Desk, specs: list[dict[str, object]], machine: str) -> None:
    task = new_task(desk, specs)
    written = bring(task, list(FAMILIES), machine_labels=machine)
    for name in FAMILIES:
        assert_there(written, name)
    again = task.bring(zip_of(dict(written)), mode="merge", machine_labels=machine)
    for kind in ("shapes", "tags", "tracks", "rows"):
        counts = again["changes"][kind]
        assert (counts["added"], counts["removed"], counts["changed"]) == (0, 0, 0), kind


@pytest.mark.parametrize("name", [name for name in FAMILIES if name.endswith(".csv")])
def test_the_rows_of_one_family_come_back(desk: Desk, name: str) -> None:
    rows = [name, "annotations/train-annotations-object-segmentation.csv"]
    assert_there(bring(new_task(desk, SPECS), list(dict.fromkeys(rows))), name)
