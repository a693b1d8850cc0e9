"""What the scripts share: the request from standard input, a client, and plain JSON out. Runs beside the SDK only."""

from __future__ import annotations

import hashlib
import json
import sys
from enum import Enum
from pathlib import Path
from typing import Any

from cvat_sdk import Client, Config

REQUEST: dict[str, Any] = json.loads(sys.stdin.read())
# Small work is done within the request that asks for it; a test must not hide that behind the SDK's pause of 5 seconds,
# nor take 5 seconds where the service is late by a little.
PAUSE_SECONDS = 0.2


def connect(*, login: bool = True) -> Client:
    """A client of the service, checked to be of a supported version."""
    client = Client(REQUEST["url"], config=Config(status_check_period=PAUSE_SECONDS, allow_unsupported_server=False))
    if login:
        client.login((REQUEST["user"], REQUEST["password"]))
    return client


def plain(value: Any) -> Any:
    """SDK models as plain JSON values."""
    value = getattr(value, "_model", value)  # the SDK's objects around models
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def tell(**facts: Any) -> None:
    """The script's answer: one line of JSON, the last it prints."""
    print(json.dumps(plain(facts)))


def files_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())
