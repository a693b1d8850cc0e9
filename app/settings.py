"""Every limit, path and address of the service, each an environment variable with the prefix `ANNOPORT_`.

Read by `main`, `cli` and `supervisor` alone; everything else receives plain values. The README's table is checked
against this class. A limit of 0 is not "no limit": it is refused where it makes no sense.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.steps import STEPS

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """Built from the environment, or by hand in tests: `Settings(data_dir=…)`."""

    model_config = SettingsConfigDict(env_prefix="ANNOPORT_", extra="ignore")

    # Where things are
    data_dir: Path = Field(Path("annoport-data"), description="Folder of database, queue, files, temporary ones too")
    database_url: str = Field("", description="SQLAlchemy URL of the database; empty: SQLite in the data folder")
    blob_url: str = Field("", description="URL of the store of bytes; empty: a folder in the data folder")
    queue_url: str = Field("", description="URL of the queue; empty: derived from the database")
    database_connections: int = Field(
        48, ge=2, description="Connections of one web process to the database at most; a worker holds 4 at most"
    )
    blob_redirects: bool = Field(
        True, description="Send clients to the bucket for finished exports (signed, 5 minutes); False: stream them"
    )
    blob_public_url: str = Field(
        "", description="Address of the bucket's server as clients reach it; empty: that of AWS_ENDPOINT_URL"
    )

    # How it is reached
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one and prints it")
    public_url: str = Field("", description="Address clients use, as https://host; empty: taken from each request")
    trusted_proxies: str = Field("127.0.0.1", description="Addresses whose X-Forwarded-… headers are believed")
    allowed_hosts: str = Field(
        "", description="Host names to answer to, comma separated; empty: any (local mode: loopback)"
    )
    allowed_origins: str = Field("", description="Further origins browsers may call from, comma separated")

    # Who may
    auth_mode: Literal["local", "users"] = Field(
        "local", description="local: this machine only, no password needed; users: everybody logs in"
    )
    cookie_secure: bool = Field(False, description="Mark cookies Secure (on by itself when public_url is https)")
    session_ttl_seconds: int = Field(14 * 86400, ge=60, description="Life of a browser session")
    login_rate_per_minute: int = Field(10, ge=1, description="Failed logins for a name and address before 429")

    # Processes
    web_processes: int = Field(1, ge=1, le=64, description="Web processes that `serve` starts")
    workers: int = Field(2, ge=0, le=64, description="Worker processes that `serve` starts; 0: none (run `worker`)")
    import_helpers: int = Field(
        1,
        ge=0,
        le=16,
        description="Processes that help large imports (masks, rows), exports and answers (masks), as cores allow",
    )
    worker_niceness: int = Field(
        5, ge=0, le=19, description="How far workers step back for answers when cores are short"
    )
    worker_memory_bytes: int = Field(4 * GIB, ge=512 * MIB, description="Address space of a worker process")
    import_timeout_seconds: int = Field(3600, ge=1, description="Wall time of one background request")
    lease_seconds: int = Field(60, ge=5, le=3600, description="A worker silent for this long has lost its request")
    stop_timeout_seconds: int = Field(15, ge=1, description="Time for running answers and work when stopping")
    request_hold_seconds: float = Field(
        4.0, ge=0, le=60, description="How long GET /api/requests/{id} waits for an end"
    )
    max_queued_per_user: int = Field(20, ge=1, description="Queued and running requests of one user before 429")
    max_queued: int = Field(500, ge=1, description="Queued and running requests of all users before 503")
    queue_late_seconds: float = Field(
        300.0, gt=0, description="A request that waits longer makes GET /health/work answer 503: workers are behind"
    )

    # Bodies and connections
    max_annotation_upload_bytes: int = Field(2 * GIB, ge=1, description="Size of an annotation archive")
    max_data_upload_bytes: int = Field(25 * GIB, ge=1, description="Size of one upload of pictures")
    tus_max_size_bytes: int = Field(25 * GIB, ge=1, description="Size of one resumable upload")
    tus_max_open_per_user: int = Field(50, ge=1, description="Unfinished resumable uploads of one user before 429")
    tus_expiry_seconds: int = Field(86400, ge=60, description="An unfinished upload is removed after this silence")
    max_json_body_bytes: int = Field(64 * MIB, ge=KIB, description="Size of a JSON body")
    max_login_body_bytes: int = Field(64 * KIB, ge=KIB, description="Size of a login body")
    max_json_depth: int = Field(64, ge=4, description="Nesting of a JSON body")
    multipart_max_files: int = Field(10_000, ge=1, description="Files in one form")
    multipart_max_fields: int = Field(1_000, ge=1, description="Fields in one form")
    multipart_max_field_bytes: int = Field(MIB, ge=KIB, description="Size of one text field of a form")
    multipart_max_part_header_bytes: int = Field(16 * KIB, ge=KIB, description="Headers of one part of a form")
    max_header_bytes: int = Field(64 * KIB, ge=8 * KIB, description="Headers of a request")
    header_timeout_seconds: float = Field(10, gt=0, description="Time for the headers of a request to arrive")
    body_idle_timeout_seconds: float = Field(30, gt=0, description="Longest silence within a body")
    keepalive_seconds: int = Field(15, ge=1, description="An idle connection is closed after this")
    max_connections: int = Field(1000, ge=1, description="Connections at once; more get 503")
    min_free_bytes: int = Field(512 * MIB, ge=0, description="Free disk below which writing answers 507")

    # Archives
    max_zip_entries: int = Field(250_000, ge=1, description="Members of a zip")
    max_zip_member_bytes: int = Field(4 * GIB, ge=1, description="Unpacked size of one member")
    max_zip_total_bytes: int = Field(32 * GIB, ge=1, description="Unpacked size of all members")
    max_zip_ratio: int = Field(100, ge=1, description="Unpacked to packed size, once past zip_ratio_from_bytes")
    zip_ratio_from_bytes: int = Field(64 * MIB, ge=0, description="Unpacked size from which the ratio counts")
    max_zip_name_bytes: int = Field(1024, ge=16, description="Length of a member's name")
    max_zip_component_bytes: int = Field(255, ge=16, description="Length of one component of a name")
    max_zip_depth: int = Field(32, ge=1, description="Parts of a member's name: its folders and itself")
    max_csv_rows: int = Field(20_000_000, ge=1, description="Rows of one import")
    max_csv_field_bytes: int = Field(16 * MIB, ge=KIB, description="Size of one CSV field")
    max_csv_columns: int = Field(256, ge=1, description="Columns of a CSV table")
    max_classes: int = Field(
        250_000, ge=1, description="Classes in the class files of an archive, or named by its rows"
    )
    max_subsets: int = Field(1_000, ge=1, description="Subsets of an archive")
    max_hierarchy_depth: int = Field(32, ge=1, description="Nodes of a class hierarchy within each other")
    max_hierarchy_nodes: int = Field(100_000, ge=1, description="Nodes of a class hierarchy")
    max_mask_pixels: int = Field(50_000_000, ge=1, description="Pixels of one mask")
    max_mask_bytes: int = Field(32 * MIB, ge=1, description="Size of one mask file")
    max_problems: int = Field(100, ge=1, description="Problems listed of each severity; all are counted")

    # Pictures
    max_image_pixels: int = Field(178_956_970, ge=1, description="Pixels of one picture")
    max_image_bytes: int = Field(256 * MIB, ge=1, description="Size of one picture")

    # Annotations
    max_points_per_shape: int = Field(100_000, ge=4, description="Numbers in the points of one shape")
    max_shapes_per_request: int = Field(200_000, ge=1, description="Shapes, tags and tracks in one JSON body")
    max_page_size: int = Field(500, ge=1, description="Entries of a list page (larger is cut)")

    # Housekeeping
    export_ttl_seconds: int = Field(
        86400, ge=60, description="An exported archive is kept this long after its last download"
    )
    request_ttl_seconds: int = Field(7 * 86400, ge=60, description="A finished request is remembered this long")
    sweep_seconds: int = Field(60, ge=1, description="Pause between two rounds of housekeeping")

    # Seeing inside
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged")
    log_format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, else JSON lines")
    fail_point: str = Field("", description="For tests: the named step at which a process kills itself")

    @field_validator("fail_point")
    @classmethod
    def _known_step(cls, step: str) -> str:
        if step and step not in STEPS:
            raise ValueError(f"there is no step {step!r}; there are {', '.join(STEPS)}")
        return step

    @model_validator(mode="after")
    def _local_only_on_loopback(self) -> Settings:
        if self.auth_mode == "local" and not is_loopback(self.host):
            raise ValueError(
                f"auth_mode=local asks nobody for a password, so it serves this machine only; to listen on {self.host} "
                "set ANNOPORT_AUTH_MODE=users and add a user: annoport user add NAME --password P --admin"
            )
        return self

    @property
    def resolved_queue_url(self) -> str:
        """The queue lives beside the database unless told otherwise; "" is a file in the data folder."""
        return self.queue_url or self.database_url

    def allowed_host_list(self) -> tuple[str, ...]:
        """Host names to answer to; empty means any."""
        hosts = tuple(host.strip() for host in self.allowed_hosts.split(",") if host.strip())
        if hosts or self.auth_mode == "users":
            return hosts
        return ("localhost", "127.0.0.1", "[::1]")

    def allowed_origin_list(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in self.allowed_origins.split(",") if origin.strip())
