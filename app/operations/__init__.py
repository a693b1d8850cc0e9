"""The walks: a zip into a task or project, both into a zip, pictures into a task, backups.

In: a background request (`Work`) with its options and staged uploads. Out: rows of the task, or a result file, together
with the request's end in one transaction. Never: HTTP, SQL, the words of a format.
Spec: the journey table of the README; reliability rules for uploads (validate all, then one transaction).
Start with `import_annotations.py`; `HANDLERS` names the operation each function serves.
"""

from app.operations.arrange import frame_step, last_part, named_order
from app.operations.backup import export_backup, import_backup
from app.operations.dry_run import CountingSink
from app.operations.export_dataset import export_dataset, stream_dataset
from app.operations.import_annotations import choose_format, import_annotations, import_options
from app.operations.import_dataset import import_dataset
from app.operations.ingest_images import PICTURE_EXTENSIONS, extension, ingest_images, is_clutter
from app.operations.names import download_name
from app.operations.new_labels import find_new_labels, with_labels
from app.operations.targets import TaskSource
from app.operations.work import Limits, Work

__all__ = [
    "PICTURE_EXTENSIONS",
    "CountingSink",
    "Limits",
    "TaskSource",
    "Work",
    "choose_format",
    "download_name",
    "export_backup",
    "export_dataset",
    "extension",
    "find_new_labels",
    "frame_step",
    "import_annotations",
    "import_backup",
    "import_dataset",
    "import_options",
    "ingest_images",
    "is_clutter",
    "last_part",
    "named_order",
    "stream_dataset",
    "with_labels",
]
