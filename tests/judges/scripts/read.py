"""Read Open Images archives with datumaro: every item and annotation as JSON, masks as packed bits."""

import json
import logging
import sys
import tempfile
import zipfile

import numpy as np
from datumaro import AnnotationType, Dataset

logging.disable(logging.CRITICAL)  # what matters is in the answer; a dropped annotation is missing there


def describe(annotation, names):
    told = {
        "kind": annotation.type.name,
        "label": names[annotation.label].name,
        "group": annotation.group,
        "attributes": annotation.attributes,
    }
    if annotation.type is AnnotationType.bbox:
        x, y, width, height = annotation.get_bbox()
        told["points"] = [float(number) for number in (x, y, x + width, y + height)]
    elif annotation.type is AnnotationType.mask:
        pixels = np.asarray(annotation.image).astype(bool)
        told["size"] = pixels.shape
        told["bits"] = np.packbits(pixels).tobytes().hex()
    return told


def read(path):
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        dataset = Dataset.import_from(folder, "open_images")
        names = dataset.categories()[AnnotationType.label]
        items = [
            {
                "id": item.id,
                "subset": item.subset,
                "picture": None if item.media is None else [int(number) for number in item.media.size],
                "annotations": [describe(each, names) for each in item.annotations],
            }
            for item in dataset
        ]
        return {
            "labels": [label.name for label in names],
            "parents": {label.name: label.parent for label in names if label.parent},
            "items": items,
        }


request = json.loads(sys.stdin.read())
print(json.dumps({name: read(path) for name, path in request["archives"].items()}))
