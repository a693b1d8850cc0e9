"""The page: `app/web` as it is, from memory.

    /, /tasks/5, /tasks/5/import …    index.html with a fresh nonce; the page's own router knows what the address means
    /web/<build>/…                    files of `app/web`, kept by browsers for ever: another build is another address
    /samples/….zip                    an archive to try the service with, made here

The content security policy lets scripts and styles come from this service alone; the one inline script is the import
map, which carries the nonce. Nothing is built: the modules import each other by the names that stand in them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from fastapi import Request, Response

from app.api.answers import content_disposition, etag_matches
from app.api.deps import AnyoneDep
from app.api.routing import Router
from app.api.sample import SAMPLES, make_sample
from app.errors import NotFound

router = Router(include_in_schema=False)

WEB = Path(__file__).parents[1] / "web"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
ENTRY = "js/app.js"
LIBRARIES = {
    "lit": "vendor/lit/index.js",
    "lit-html": "vendor/lit-html/lit-html.js",
    "lit-html/": "vendor/lit-html/",
    "lit-element/": "vendor/lit-element/",
    "@lit/reactive-element": "vendor/reactive-element/reactive-element.js",
}
"""What the modules call a library → the file that holds it."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'nonce-{nonce}'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types lit-html",
    )
)
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"

_IMPORT = re.compile(r"""\b(?:from|import)\s*["']((?:\.\.?/|lit|@lit)[\w@./-]*)["']""")


@dataclass(frozen=True)
class File:
    """One file of the page, ready to be sent."""

    body: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:24]}"'

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.body, 9, mtime=0)


@dataclass(frozen=True)
class Site:
    """All files of the page by their path below `app/web`."""

    files: Mapping[str, File]

    @cached_property
    def build(self) -> str:
        """Names exactly these files."""
        digest = hashlib.sha256()
        for path, file in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + file.body + b"\0")
        return digest.hexdigest()[:12]

    @property
    def base(self) -> str:
        return f"/web/{self.build}/"

    def import_map(self, base: str) -> str:
        return json.dumps({"imports": {name: base + path for name, path in LIBRARIES.items()}})

    def modules(self) -> list[str]:
        """The modules that the entry imports, directly or not: fetched at once instead of one after the other."""
        found = [ENTRY]
        for path in found:
            for name in _IMPORT.findall(self.files[path].body.decode()):
                module = resolve_module(path, name)
                if module not in found:
                    found.append(module)
        return found

    @cached_property
    def loaded(self) -> tuple[str, ...]:
        """What `modules` gives."""
        return tuple(self.modules())

    def index(self, nonce: str, path: str = "/") -> bytes:
        """The page at a path. Its addresses are relative to that: it works under any path that a proxy takes off."""
        root = "../" * (path.count("/") - 1) or "./"
        base = root + self.base[1:]
        text = self.files["index.html"].body.decode()
        for name, value in {
            "root": root,
            "base": base,
            "nonce": nonce,
            "import_map": self.import_map(base),
            "preloads": "\n".join(f'<link rel="modulepreload" href="{base}{module}">' for module in self.loaded[1:]),
        }.items():
            text = text.replace("{{" + name + "}}", value)
        return text.encode()


def resolve_module(path: str, name: str) -> str:
    """The file that the module at `path` means by `name`, as browsers do it with the import map."""
    if name in LIBRARIES:
        return LIBRARIES[name]
    for prefix, folder in LIBRARIES.items():
        if prefix.endswith("/") and name.startswith(prefix):
            return folder + name.removeprefix(prefix)
    parts = path.split("/")[:-1]
    for part in name.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def current_site() -> Site:
    """The files as they are; read again when one of them changes."""
    paths = tuple(sorted(path for path in WEB.rglob("*") if path.suffix in MEDIA_TYPES))
    newest = max(path.stat().st_mtime_ns for path in paths)
    return _read_site(paths, newest)


@lru_cache(maxsize=1)
def _read_site(paths: tuple[Path, ...], newest: int) -> Site:
    return Site({path.relative_to(WEB).as_posix(): File(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in paths})


def send_file(request: Request, file: File, cache_control: str) -> Response:
    """The file, packed if the browser unpacks; nothing of it if the browser has it."""
    headers = {"Cache-Control": cache_control, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if etag_matches(request, file.etag):
        return Response(status_code=304, headers=headers)
    body = file.body
    if "gzip" in request.headers.get("accept-encoding", "") and len(file.packed) < len(body):
        body = file.packed
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=file.media_type)


@router.get("/")
@router.get("/tasks")
@router.get("/tasks/{rest:path}")
@router.get("/activity")
@router.get("/tokens")
@router.get("/help")
def get_page(request: Request, _: AnyoneDep, rest: str = "") -> Response:
    """The page, at every address that it knows."""
    nonce = secrets.token_urlsafe(16)
    body = current_site().index(nonce, request.scope["path"])
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY.format(nonce=nonce)}
    return Response(body, headers=headers, media_type="text/html; charset=utf-8")


@router.get("/web/{build}/{path:path}")
def get_file(request: Request, build: str, path: str, _: AnyoneDep) -> Response:
    """A file of the page. A tab of an older build gets the newer file, and asks again the next time."""
    site = current_site()
    file = site.files.get(path)
    if file is None or path == "index.html":
        raise NotFound("file", path)
    return send_file(request, file, FOR_EVER if build == site.build else ASK_AGAIN)


@router.get("/logo.svg")
@router.get("/favicon.ico")
def get_logo(request: Request, _: AnyoneDep) -> Response:
    """The logo that /api/server/about names."""
    return send_file(request, current_site().files["logo.svg"], "public, max-age=86400")


@router.get("/samples/{name}")
def get_sample(name: str, _: AnyoneDep) -> Response:
    """An archive to try the service with."""
    if name not in SAMPLES:
        raise NotFound("sample", name)
    headers = {"Content-Disposition": content_disposition(name), "Cache-Control": "public, max-age=3600"}
    return Response(make_sample(name), headers=headers, media_type="application/zip")
