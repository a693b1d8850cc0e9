"""Open Images V4-V7: tables of image labels, boxes and masks, read and written without loss.

In:    an archive of CSV tables and mask PNGs, and the frames and labels of a task; or the task's annotations.
Out:   rectangles, masks or polygons, tags, each with its line; or the archive, unedited rows to the letter.
Never: guesses an image from digits, drops a row without a word, names a disk path.
Spec:  the Open Images reference (2.5 to 6). Columns, names: `layout.py`; what a cell shows: `attributes.py`.
Start: `read.py` for the walk in, `write.py` for the walk out.

Version numbers are names of releases, not of layouts: one directory mixes files of V4 to V7. So V6 and V7 are one
reader and one writer under two names.
"""

from dataclasses import replace

from app.formats.base import Format
from app.formats.open_images.class_words import find_words
from app.formats.open_images.extras import check_kept, outlives, relabel
from app.formats.open_images.layout import accepts, knows, looks_into, nearest_of
from app.formats.open_images.merging import OpenImagesMerger
from app.formats.open_images.new_labels import new_labels
from app.formats.open_images.notes import notes
from app.formats.open_images.pictures import pictures
from app.formats.open_images.read import read
from app.formats.open_images.survey import survey
from app.formats.open_images.write import count, list_images, write

_CARRIES = frozenset({"tag", "track", "rectangle", "polygon", "mask", "ellipse", "points"})

OPEN_IMAGES_V6 = Format(
    "Open Images V6",
    "1.0",
    accepts,
    read,
    write,
    survey,
    pictures,
    find_words,
    relabel,
    count,
    looks_into,
    knows,
    nearest_of,
    OpenImagesMerger,
    new_labels,
    notes,
    list_images=list_images,
    example="train-annotations-bbox.csv",
    check_kept=check_kept,
    outlives=outlives,
    carries=_CARRIES,
)
OPEN_IMAGES_V7 = replace(OPEN_IMAGES_V6, name="Open Images V7")

__all__ = ["OPEN_IMAGES_V6", "OPEN_IMAGES_V7"]
