"""Write Open Images archives with datumaro from items given as JSON."""

import json
import logging
import os
import sys
import tempfile
import zipfile

import numpy as np
from datumaro import AnnotationType, Bbox, Dataset, DatasetItem, Image, Label, LabelCategories, Mask

logging.disable(logging.CRITICAL)


def annotation(told, names):
    common = {
        "label": names.find(told["label"])[0],
        "attributes": told.get("attributes", {}),
        "group": told.get("group", 0),
    }
    if told["kind"] == "bbox":
        left, top, right, bottom = told["points"]
        return Bbox(left, top, right - left, bottom - top, **common)
    if told["kind"] == "mask":
        height, width = told["size"]
        bits = np.frombuffer(bytes.fromhex(told["bits"]), dtype=np.uint8)
        pixels = np.unpackbits(bits, count=height * width).reshape(height, width)
        return Mask(image=pixels, **common)
    return Label(**common)


def write(told, path):
    names = LabelCategories.from_iterable(told["labels"])
    items = [
        DatasetItem(
            id=item["id"],
            subset=item["subset"],
            media=Image.from_numpy(data=np.full((*item["size"], 3), 127, dtype=np.uint8)),
            annotations=[annotation(each, names) for each in item["annotations"]],
        )
        for item in told["items"]
    ]
    dataset = Dataset.from_iterable(items, categories={AnnotationType.label: names}, media_type=Image)
    with tempfile.TemporaryDirectory() as folder:
        dataset.export(folder, "open_images", save_media=told.get("pictures", False))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for root, _, files in os.walk(folder):
                for name in sorted(files):
                    full = os.path.join(root, name)
                    archive.write(full, os.path.relpath(full, folder))


request = json.loads(sys.stdin.read())
for name, told in request["archives"].items():
    write(told, os.path.join(request["folder"], f"{name}.zip"))
print(json.dumps({"written": sorted(request["archives"])}))
