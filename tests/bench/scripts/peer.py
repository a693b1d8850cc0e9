"""datumaro's half of the comparison: the same archive in and out, as CVAT drives it, each part timed.

Import: unzip, load, masks to polygons (if asked), walk every annotation. Export: polygons to masks, write, zip.
"""

import json
import logging
import os
import resource
import sys
import tempfile
import time
import zipfile

logging.disable(logging.CRITICAL)
from datumaro import Dataset, Image  # noqa: E402


class Part:
    """Wall and CPU seconds of one part."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def told(self):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"wall_seconds": self.wall, "cpu_seconds": self.cpu, "peak_mib": peak}


request = json.loads(sys.stdin.read())
with tempfile.TemporaryDirectory() as folder:
    with Part() as part:
        with zipfile.ZipFile(request["archive"]) as archive:
            archive.extractall(os.path.join(folder, "in"))
        dataset = Dataset.import_from(os.path.join(folder, "in"), "open_images")
        if request["polygons"]:
            dataset.transform("masks_to_polygons")
        count = 0
        for item in dataset:
            for annotation in item.annotations:
                count += 1
                # CVAT copies the points of each shape; a mask is decoded to be stored as runs.
                getattr(annotation, "points", None)
                if annotation.type.name == "mask":
                    count += bool(annotation.image.any()) - 1
    told = {"import": {**part.told(), "annotations": count}}
    # The exporter writes a box only where it knows the picture's size, and there are no pictures here. Not timed.
    sizes = {}
    with open(os.path.join(folder, "in", "annotations", "images.meta")) as lines:
        for line in lines:
            name, height, width = line.split()
            sizes[name] = (int(height), int(width))
    items = [
        item.wrap(media=Image.from_file(path=f"{item.id}.png", size=sizes[item.id]), annotations=item.annotations)
        for item in dataset
    ]
    dataset = Dataset.from_iterable(items, categories=dataset.categories(), media_type=Image)
    with Part() as part:
        if request["polygons"]:
            dataset.transform("polygons_to_masks")
        dataset.export(os.path.join(folder, "out"), "open_images", save_media=False)
        with zipfile.ZipFile(os.path.join(folder, "out.zip"), "w") as archive:
            for root, _, files in os.walk(os.path.join(folder, "out")):
                for name in files:
                    full = os.path.join(root, name)
                    archive.write(full, os.path.relpath(full, os.path.join(folder, "out")))
    told["export"] = {**part.told(), "bytes": os.path.getsize(os.path.join(folder, "out.zip"))}
print(json.dumps(told))
