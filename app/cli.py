"""The command line: `annoport serve`, `demo`, `check`, and what keeps an installation going.

Every setting can be given as an environment variable (`ANNOPORT_…`); the options here are the usual ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from app import __version__
from app.errors import AppError
from app.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class SuggestingGroup(click.Group):
    """Turns refusals into one clear line and exit code 1, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AppError as error:
            raise click.ClickException(error.detail) from error


def data_dir_option(command: Command) -> Command:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Folder of the embedded database, queue and files.  [env: ANNOPORT_DATA_DIR; default: annoport-data]",
    )(command)


def load_settings(**given: Any) -> Settings:
    """Settings of the environment, overridden by the options that were given."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"ANNOPORT_{name.upper()}: {message}" if name else message)
        raise click.ClickException("\n".join(lines)) from error


@click.group(cls=SuggestingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="annoport")
def main() -> None:
    """annoport: annotation archives in and out, through CVAT's API or one curl call.

    Start with `annoport serve` (the service) or `annoport demo` (see the main job happen).
    """


@main.command()
@click.option("--host", default=None, help="Address to listen on.  [env: ANNOPORT_HOST; default: 127.0.0.1]")
@click.option(
    "--port",
    type=int,
    default=None,
    help="Port; 0 picks a free one and prints it.  [env: ANNOPORT_PORT; default: 8080]",
)
@data_dir_option
@click.option(
    "--web-processes", type=int, default=None, help="Web processes.  [env: ANNOPORT_WEB_PROCESSES; default: 1]"
)
@click.option("--workers", type=int, default=None, help="Worker processes.  [env: ANNOPORT_WORKERS; default: 2]")
@click.option("--no-worker", is_flag=True, help="Start no worker here: `annoport worker` runs elsewhere.")
def serve(
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    web_processes: int | None,
    workers: int | None,
    no_worker: bool,
) -> None:
    """Create and migrate the data folder, start the workers, and serve until SIGTERM or Ctrl-C."""
    from app.main import run_service

    settings = load_settings(
        host=host, port=port, data_dir=data_dir, web_processes=web_processes, workers=0 if no_worker else workers
    )
    raise SystemExit(run_service(settings))


@main.command()
@data_dir_option
@click.option("--parent-fd", type=int, default=None, hidden=True)
def worker(data_dir: Path | None, parent_fd: int | None) -> None:
    """Run one worker process: it takes background requests until SIGTERM."""
    from app.background import run_worker_process

    run_worker_process(load_settings(data_dir=data_dir), parent_fd)


@main.command("child-web", hidden=True)
@click.option("--fd", type=int, required=True, hidden=True)
@click.option("--parent-fd", type=int, default=None, hidden=True)
def web(fd: int, parent_fd: int | None) -> None:
    """Serve on a socket that `serve` has bound; one of several web processes."""
    from app.main import run_web_process

    run_web_process(load_settings(), fd, parent_fd)


@main.command("child-stream", hidden=True)
@click.option("--fd", type=int, required=True, hidden=True)
def stream(fd: int) -> None:
    """Write exports into a socket; started by a web process."""
    from app.background import run_stream_process

    run_stream_process(load_settings(), fd)


@main.command()
@data_dir_option
def migrate(data_dir: Path | None) -> None:
    """Create the database, or bring it to this version. `serve` does this by itself on the embedded database."""
    from app.main import migrate_storage

    migrate_storage(load_settings(data_dir=data_dir))
    click.echo("the database is up to date")


@main.command("move")
@data_dir_option
@click.option("--to-data-dir", type=click.Path(file_okay=False, path_type=Path), default=None, help="Its data folder.")
@click.option("--to-database-url", default="", help="Its database; without it SQLite in its data folder.")
@click.option("--to-blob-url", default="", help="Its store of bytes; without it a folder in its data folder.")
def move_command(data_dir: Path | None, to_data_dir: Path | None, to_database_url: str, to_blob_url: str) -> None:
    """Copy the whole store into a new, empty place, and compare: from the embedded shape to the cluster, or back.

    Stop the service first. The source stays as it is; a move that was cut off goes on when it is begun again.
    """
    from app.main import move_store

    if to_data_dir is None and not (to_database_url and to_blob_url):
        raise click.UsageError("say where to: --to-data-dir, or both --to-database-url and --to-blob-url")
    settings = load_settings(data_dir=data_dir)
    places = {"database_url": to_database_url, "blob_url": to_blob_url, "data_dir": to_data_dir or settings.data_dir}
    moved = move_store(settings, settings.model_copy(update=places), click.echo)
    click.echo(f"moved {moved.rows} rows and {moved.blobs} files of {moved.bytes} bytes; every row was compared")


@main.group()
def user() -> None:
    """People who may log in."""


@user.command("add")
@click.argument("name")
@click.option("--password", required=True, help="At least one character; asked of nobody again.")
@click.option("--admin", is_flag=True, help="May see and change everything.")
@click.option("--email", default="", help="Shown in the user's own record.")
@data_dir_option
def user_add(name: str, password: str, admin: bool, email: str, data_dir: Path | None) -> None:
    """Add the user NAME. Works before the first start and while serving."""
    from app.main import add_user

    add_user(load_settings(data_dir=data_dir), name, password, admin, email)
    click.echo(f"user {name} added" + (" (admin)" if admin else ""))


@main.group()
def token() -> None:
    """Access tokens for scripts."""


@token.command("add")
@click.argument("username")
@click.option("--name", default="cli", show_default=True, help="What the token is for.")
@click.option("--read-only", is_flag=True, help="The token may look, not change.")
@data_dir_option
def token_add(username: str, name: str, read_only: bool, data_dir: Path | None) -> None:
    """Make an access token for USERNAME and print it, once."""
    from app.main import add_token

    secret = add_token(load_settings(data_dir=data_dir), username, name, read_only)
    click.echo(secret)


@main.command()
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write here, not to the terminal."
)
@click.option(
    "--check",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    default=None,
    help="Fail if this file differs.",
)
def openapi(output: Path | None, check: Path | None) -> None:
    """The API's contract as OpenAPI JSON."""
    from app.main import openapi_text

    text = openapi_text()
    if check is not None:
        if check.read_text(encoding="utf-8") != text:
            raise click.ClickException(f"{check} is out of date; write it again: annoport openapi --output {check}")
        click.echo(f"{check} is up to date")
    elif output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


@main.command()
@click.option("--url", default=None, help="Address of the service; default: from ANNOPORT_HOST and ANNOPORT_PORT.")
def healthcheck(url: str | None) -> None:
    """Exit with 0 if the service answers and can do its work, else with 1 and the reason."""
    import urllib.error
    import urllib.request

    settings = load_settings(auth_mode="users")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    address = (url or f"http://{host}:{settings.port}").rstrip("/") + "/health/ready"
    if not address.startswith(("http://", "https://")):
        raise click.ClickException(f"{address} is not an http address")
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            click.echo(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        body = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        raise click.ClickException(f"{address}: {error} {body}".strip()) from error


@main.command()
@data_dir_option
@click.option("--url", default=None, help="Use the service at this address instead of starting one.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("annoport-demo"),
    show_default=True,
    help="Folder for the pictures and zips.",
)
@click.option("--frames", type=click.IntRange(1, 1000), default=6, show_default=True, help="Pictures to make.")
@click.option("--stop", is_flag=True, help="End when done, instead of leaving the service up to look around.")
def demo(data_dir: Path | None, url: str | None, output: Path, frames: int, stop: bool) -> None:
    """See the main job happen: a task of generated pictures, an import and an export through a running service."""
    from app.demo import run_demo

    run_demo(data_dir=data_dir, url=url, output=output, n_frames=frames, stop=stop)


@main.command()
@click.argument(
    "archives", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--frames",
    "frames_path",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="The task's pictures: a folder, or a text file with `name [width height]` a line. "
    "Without it the archive is checked against itself.",
)
@click.option(
    "--labels",
    "labels_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="The task's labels: CVAT's label JSON, or a name a line.",
)
@click.option(
    "--format", "format_name", default=None, help="Format, as `Open Images V6 1.0`; default: found from the archive."
)
@click.option(
    "--unmatched",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Images that are not the task's: an error, or passed over with a warning.",
)
@click.option(
    "--conv-mask-to-poly/--keep-masks", default=False, help="Trace masks to polygons, as CVAT does by default."
)
@click.option(
    "-o",
    "--option",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other option of an import, such as `labels=create`, `classes=Cat` or `map=label:Feline=cat`.",
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as JSON.")
def check(
    archives: tuple[Path, ...],
    frames_path: Path | None,
    labels_path: Path | None,
    format_name: str | None,
    unmatched: str,
    conv_mask_to_poly: bool,
    given: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check an archive without a server and report every problem. Exit code 0: sound, 1: refused.

    FILE is a zip, or several files that are one archive together: `upload.zip train-masks-*.zip`, or the tables
    themselves.
    """
    from app.api import import_options_of
    from app.check import check_archive

    report = check_archive(
        load_settings(auth_mode="users"),
        archives,
        frames_path,
        labels_path,
        format_name,
        {"unmatched": unmatched, "conv_mask_to_poly": conv_mask_to_poly, **import_options_of(given)},
    )
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        for problem in report.problems():
            click.echo(f"{problem.severity}: {problem}" + (f" ({problem.suggestion})" if problem.suggestion else ""))
        for name, count in report.tables.items():
            click.echo(
                f"{name}: {count.seen} rows, {count.kept} kept, {count.changed} changed, {count.dropped} dropped"
            )
        click.echo(f"{report.n_errors} errors, {report.n_warnings} warnings")
    if report.n_errors:
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="annoport")
