"""What an import knows of those before it, through the running service."""

import io
import zipfile

from PIL import Image

from tests.caller import Caller
from tests.samples import picture
from tests.service import Service

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
BOX = "a,xclick,/m/01yrx,1,0.25,0.5,0.25,0.5,0,0,0,0,0"
MASK = (
    "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    "m.png,a,/m/01yrx,00,0.25,0.5,0.25,0.5,,"
)


def archive(**entries: bytes | str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return body.getvalue()


def test_a_mid_stays_with_its_label_and_appended_groups_do_not_mix(service: Service) -> None:
    png = io.BytesIO()
    Image.new("1", (80, 60), 1).save(png, "PNG")
    tables = {
        "annotations/train-annotations-bbox.csv": f"{HEADER}\n{BOX}\n",
        "annotations/train-annotations-object-segmentation.csv": MASK,
        "masks/train/m.png": png.getvalue(),
    }
    named = archive(**tables, **{"annotations/class-descriptions.csv": "/m/01yrx,Cat\n"})
    with Caller(service) as caller:
        task = caller.json("POST", "/api/tasks", json={"name": "known", "labels": [{"name": "Cat"}]})["id"]
        form = {"client_files[0]": ("a.png", picture(80, 60), "image/png")}
        caller.wait(
            caller.call("POST", f"/api/tasks/{task}/data", data={"image_quality": "70"}, files=form).json()["rq_id"]
        )
        caller.call("POST", f"/api/tasks/{task}/import", params={"wait": 150}, content=named)
        # The second archive has no class file: the label is known by the MID it came with.
        caller.call(
            "POST", f"/api/tasks/{task}/import", params={"wait": 150, "mode": "append"}, content=archive(**tables)
        )
        shapes = caller.json("GET", f"/api/tasks/{task}/annotations")["shapes"]
    groups = sorted(shape["group"] for shape in shapes)
    assert len(groups) == 4
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert 0 not in groups
