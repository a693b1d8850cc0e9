"""What is said of a picture that no shape shows: captions, relationships and absent labels, through the service."""

from __future__ import annotations

import json

from tests.caller import Caller
from tests.operations.test_known_before import HEADER, archive
from tests.samples import picture
from tests.service import Service

VRD = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel"
ZIP = archive(
    **{
        "class-descriptions.csv": "/m/cat,Cat\n/m/chair,Chair\n/m/furry,Furry\n",
        "train-annotations-bbox.csv": f"{HEADER}\na,x,/m/cat,1,0,0.5,0,0.5,0,0,0,0,0\n",
        "train-annotations-human-imagelabels.csv": "ImageID,Source,LabelName,Confidence\na,v,/m/chair,0\n",
        "train-annotations-vrd.csv": f"{VRD}\na,/m/cat,/m/chair,0,0.5,0,0.5,0,1,0,1,on\n"
        "a,/m/cat,/m/furry,0,0.5,0,0.5,0,0.5,0,0.5,is\n",
        "train_captions.jsonl": json.dumps({"image_id": "a", "caption": 'A "cat",\non a chair\0.'}),
    }
)


def test_pictures_tell_what_is_said_of_them(service: Service) -> None:
    with Caller(service) as caller:
        labels = [{"name": "Cat"}, {"name": "Chair"}]
        task = caller.task("said", labels, {"a.png": picture(80, 60), "b.png": picture(8, 6)})
        report = caller.json("POST", f"/api/tasks/{task}/import", params={"wait": 150}, content=ZIP)
        assert report["relationships"]["half_linked"] == report["relationships"]["linked"] == 1
        told = caller.json("GET", f"/api/tasks/{task}/pictures/0")
        assert [(note["kind"], note["words"]) for note in told["notes"]] == [
            ("relationship", "Cat on Chair"),
            ("attribute", "Cat is Furry"),
            ("absent_label", "no Chair"),
            ("caption", 'A "cat",\non a chair\ufffd.'),
        ]
        assert told["n_notes"] == 4
        assert told["notes"][0]["cells"]["XMax1"] == "0.5"
        assert told["notes"][0]["file"] == "train-annotations-vrd.csv"
        assert caller.json("GET", f"/api/tasks/{task}/pictures/1")["notes"] == []
        whole = caller.json("GET", f"/api/tasks/{task}/annotations")
        (box,) = whole["shapes"]
        caller.call(
            "PATCH", f"/api/tasks/{task}/annotations?action=delete", json={"shapes": [box], "tags": [], "tracks": []}
        )
        started = caller.json("POST", f"/api/tasks/{task}/dataset/export", params={"format": "Open Images V6 1.0"})
        done = caller.wait(started["rq_id"])
        assert "2 relationships named a box that was deleted" in done["message"]
