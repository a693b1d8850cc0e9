"""File names of downloads."""

from __future__ import annotations

import re
from datetime import datetime

UNSAFE = re.compile(r"[^A-Za-z0-9_\-. ]")


def download_name(kind: str, key: int, with_images: bool, moment: datetime, format_name: str) -> str:
    """CVAT's pattern, in characters its clients take: `task_5_dataset_2026_01_31_09_30_00_open images v6 1.0.zip`."""
    what = "dataset" if with_images else "annotations"
    safe = UNSAFE.sub("_", format_name.lower())
    return f"{kind}_{key}_{what}_{moment:%Y_%m_%d_%H_%M_%S}_{safe}.zip"


def backup_name(kind: str, name: str, moment: datetime) -> str:
    """CVAT's pattern: `task_birds_backup_2026_01_31_09_30_00.zip`."""
    return f"{kind}_{UNSAFE.sub('_', name)[:100]}_backup_{moment:%Y_%m_%d_%H_%M_%S}.zip"
