"""The service about itself (cvat-api 2 and 10)."""

from __future__ import annotations

import re
from typing import Any

from app.api.deps import AnyoneDep, CallerDep, LinksDep, ServicesDep
from app.api.routing import Router
from app.api.schemas import About, DatasetFormat, DatasetFormats, Plugins
from app.formats.base import Format

router = Router(prefix="/api/server", tags=["server"])

CVAT_VERSION = "2.80.0"
"""The API version that the clients compare theirs with."""


def client_version(version: str) -> str:
    """CVAT's version with ours as its local part: the clients crash on what is not PEP 440."""
    local = re.sub(r"[^a-z0-9]+", ".", version.lower()).strip(".")
    return f"{CVAT_VERSION}+annoport" + (f".{local}" if local else "")


@router.get("/about", response_model=About)
def get_about(_: AnyoneDep, services: ServicesDep, links: LinksDep) -> Any:
    """Name and version; clients ask for it before they log in."""
    return About(
        name="annoport",
        description="Annotation archives in and out of tasks, through CVAT's API or one call.",
        version=client_version(services.version),
        logo_url=links.url("/logo.svg"),
        subtitle="Nothing lost, nothing silent, nothing waits",
    )


@router.get("/annotation/formats", response_model=DatasetFormats)
def list_formats(_: CallerDep, services: ServicesDep) -> Any:
    """What can be imported and exported."""
    return DatasetFormats(
        importers=[_entry(one) for one in services.formats if one.read is not None],
        exporters=[_entry(one) for one in services.formats if one.write is not None],
    )


@router.get("/plugins", response_model=Plugins)
def get_plugins(_: CallerDep) -> Any:
    """None of CVAT's."""
    return Plugins(ANALYTICS=False, MODELS=False, analytics=False, models=False)


def _entry(one: Format) -> DatasetFormat:
    return DatasetFormat(name=one.display_name, ext=one.ext, version=one.version, enabled=True, dimension=one.dimension)
