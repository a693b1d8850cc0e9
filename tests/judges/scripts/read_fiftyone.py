"""Read a folder in FiftyOne's layout with its own importer: every sample and label as JSON, masks as packed bits.

`whole`: the installed package, which wants a gigabyte of other packages (its database is not started). Else its module
`fiftyone/utils/openimages.py` alone, where what it takes from the rest of the package is stood in for: labels are
records of what they are given, and pictures are read as FiftyOne reads them, by OpenCV as RGB and then grey.
"""

import functools
import importlib.util
import json
import os
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pandas as pd


class Label(types.SimpleNamespace):
    """A label holds what it is made with; lists of labels are empty unless given."""


def stand_in():
    """Modules under the names that openimages.py imports, with the few functions that its importer calls."""
    made = {}
    # The judge's pandas is older than FiftyOne wants, and reads decimals to the last bit only when asked to.
    pd.read_csv = functools.partial(pd.read_csv, float_precision="round_trip")

    def module(name, **members):
        made[name] = sys.modules[name] = types.ModuleType(name)
        made[name].__dict__.update(members)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, made[name])

    class Importer:
        def __init__(self, dataset_dir, shuffle=False, seed=None, max_samples=None):
            self.dataset_dir, self.shuffle, self.seed, self.max_samples = dataset_dir, shuffle, seed, max_samples

    def label_class(name, plural=None):
        def make(**given):
            return Label(**({plural: []} if plural else {}) | given)

        return make

    def files(folder):
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())

    module("eta")
    module("eta.core")
    module("eta.core.image", rgb_to_gray=lambda picture: cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    module("eta.core.serial", load_json=lambda path: json.loads(Path(path).read_text(encoding="utf-8")))
    module("eta.core.utils", is_str=lambda value: isinstance(value, str), list_files=files)
    module("eta.core.web")
    module("fiftyone")
    module("fiftyone.core")
    module("fiftyone.core.fields", StringField=str)
    labels = {name: label_class(name, name.lower()) for name in ("Classifications", "Detections", "Keypoints")}
    labels |= {name: label_class(name) for name in ("Classification", "Detection", "Keypoint")}
    module("fiftyone.core.labels", **labels)
    module("fiftyone.utils")
    module("fiftyone.utils.aws")
    module("fiftyone.utils.data", LabeledImageDatasetImporter=Importer)
    module("fiftyone.utils.image", read=lambda path: cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB))


def load(whole, package):
    if whole:
        import fiftyone.utils.openimages as found

        return found
    stand_in()
    spec = importlib.util.spec_from_file_location("openimages", Path(package) / "utils" / "openimages.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
VOTES = ("estimated_yes_no", "source", "yes_votes", "no_votes", "unsure_votes")


def describe(label):
    told = {"label": label.label}
    for name in ("bounding_box", "confidence", "Label1", "Label2", *FLAGS, *VOTES, "points"):
        value = getattr(label, name, None)
        if value is not None:
            told[name] = value
    mask = getattr(label, "mask", None)
    if mask is not None:
        told["size"] = mask.shape
        told["bits"] = np.packbits(np.asarray(mask, dtype=bool)).tobytes().hex()
    return told


def read(module, folder):
    importer = module.OpenImagesV7DatasetImporter(dataset_dir=folder, include_id=True)
    importer.setup()
    samples = {}
    for path, _, labels in importer:
        samples[Path(path).name] = {
            kind: [describe(one) for one in getattr(found, kind_of(kind))]
            for kind, found in labels.items()
            if kind != "open_images_id"
        }
    return {"samples": samples, "classes": importer.get_dataset_info()["classes"]}


def kind_of(name):
    return {"points": "keypoints", "positive_labels": "classifications", "negative_labels": "classifications"}.get(
        name, "detections"
    )


request = json.loads(sys.stdin.read())
openimages = load(request["whole"], request["package"])
print(json.dumps({name: read(openimages, folder) for name, folder in request["folders"].items()}))
