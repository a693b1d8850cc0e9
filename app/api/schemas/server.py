"""The service about itself."""

from __future__ import annotations

from pydantic import Field

from app.api.schemas.basic import ReadModel


class About(ReadModel):
    """Clients check `version`: CVAT's API version, then this service's own behind the plus."""

    name: str = Field(max_length=128, examples=["annoport"])
    description: str = Field(max_length=2048)
    version: str = Field(max_length=64, examples=["2.80.0+annoport.0.1.0"])
    logo_url: str = Field(examples=["https://host/logo.svg"])
    subtitle: str = Field(max_length=1024)


class DatasetFormat(ReadModel):
    name: str = Field(max_length=64, examples=["Open Images V6 1.0"])
    ext: str = Field(max_length=64, examples=["ZIP"])
    version: str = Field(max_length=64, examples=["1.0"])
    enabled: bool
    dimension: str = Field(max_length=2, examples=["2d"])


class DatasetFormats(ReadModel):
    importers: list[DatasetFormat]
    exporters: list[DatasetFormat]


class Plugins(ReadModel):
    """Parts of CVAT that this service does not have, in the letter case of the SDK and in that of old scripts."""

    ANALYTICS: bool = False
    MODELS: bool = False
    analytics: bool = False
    models: bool = False


class Health(ReadModel):
    status: str = Field(examples=["ok"])


class Readiness(ReadModel):
    """What was tried: a row and a blob were written; and whether workers keep up."""

    status: str = Field(examples=["ok"])
    storage: str = Field(examples=["ok"])
    requests: dict[str, int]
    oldest_queued_seconds: float
    work: str = Field(examples=["ok"], description="`late` while a request waits longer than it should for a worker")
