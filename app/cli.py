"""The command line: `annoport serve`, `demo`, `check`, and what keeps an installation going.

Every setting can be given as an environment variable (`ANNOPORT_…`); the options here are the usual ones.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from app import __version__
from app.errors import AppError, InvalidInput, shortage_of
from app.heap import while_importing
from app.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class SuggestingGroup(click.Group):
    """Turns refusals into one clear line and exit code 1, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AppError as error:
            raise click.ClickException(error.detail) from error
        except (OSError, RuntimeError) as error:
            if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
                raise click.ClickException(f"{error.filename}: {error.strerror}") from error
            shortage = shortage_behind(error)
            if shortage is None:
                raise
            raise click.ClickException(shortage.detail) from error


def shortage_behind(error: BaseException | None) -> AppError | None:
    """What the machine refused, where that is the reason for an error: whoever is refused in the middle of something
    may fail to end it, and raise that."""
    while error is not None:
        found = shortage_of(error)
        if found is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def data_dir_option(command: Command) -> Command:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Folder of database, queue, files, temporary ones too.  [env: ANNOPORT_DATA_DIR; default: annoport-data]",
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
        raise Unable("\n".join(lines)) from error


def warn_of_unknown_settings() -> None:
    """A variable that is nearly called like a setting is told: it would be passed over without a word."""
    known = {f"ANNOPORT_{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith("ANNOPORT_") and name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.85)
            if near:
                click.echo(f"Warning: {name} is no setting; did you mean {near[0]}?", err=True)


class Unable(click.ClickException):
    """What the machine or the settings refuse, where exit code 1 means something else."""

    exit_code = 2


class ExistingPath(click.Path):
    """A file or folder that is there; a name that is nearly right is told, and what to do with a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fspath(value))
        if not path.exists() and path.parent.is_dir():
            near = difflib.get_close_matches(path.name, os.listdir(path.parent), 1)
            if near:
                self.fail(f"File {os.fspath(path)!r} does not exist. Did you mean {near[0]!r}?", param, ctx)
        if path.is_dir() and not self.dir_okay:
            self.fail(f"{os.fspath(path)!r} is a folder: make a zip of it, or name the files in it.", param, ctx)
        return super().convert(value, param, ctx)


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
    with while_importing():
        from app.main import run_service

    warn_of_unknown_settings()
    settings = load_settings(
        host=host, port=port, data_dir=data_dir, web_processes=web_processes, workers=0 if no_worker else workers
    )
    raise SystemExit(run_service(settings))


@main.command()
@data_dir_option
@click.option("--parent-fd", type=int, default=None, hidden=True)
def worker(data_dir: Path | None, parent_fd: int | None) -> None:
    """Run one worker process: it takes background requests until SIGTERM."""
    with while_importing():
        from app.background import run_worker_process

    run_worker_process(load_settings(data_dir=data_dir), parent_fd)


@main.command("child-web", hidden=True)
@click.option("--fd", type=int, required=True, hidden=True)
@click.option("--parent-fd", type=int, default=None, hidden=True)
def web(fd: int, parent_fd: int | None) -> None:
    """Serve on a socket that `serve` has bound; one of several web processes."""
    with while_importing():
        from app.main import run_web_process

    run_web_process(load_settings(), fd, parent_fd)


@main.command("child-stream", hidden=True)
@click.option("--fd", type=int, required=True, hidden=True)
def stream(fd: int) -> None:
    """Write exports into a socket; started by a web process."""
    with while_importing():
        from app.background import run_stream_process

    run_stream_process(load_settings(), fd)


@main.command()
@data_dir_option
def migrate(data_dir: Path | None) -> None:
    """Create the database, or bring it to this version. `serve` does this by itself on the embedded database."""
    with while_importing():
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
    with while_importing():
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
    with while_importing():
        from app.main import add_user

    add_user(load_settings(data_dir=data_dir), name, password, admin, email)
    click.echo(f"user {name} added" + (" (admin)" if admin else ""))


@main.group()
def token() -> None:
    """Access tokens for scripts."""


@token.command("add")
@click.argument("username")
@click.option("--name", default="cli", show_default=True, help="What the token is for.")
@click.option("--read-only", is_flag=True, help="The token may look and export, not change.")
@data_dir_option
def token_add(username: str, name: str, read_only: bool, data_dir: Path | None) -> None:
    """Make an access token for USERNAME and print it, once."""
    with while_importing():
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
    with while_importing():
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
    with while_importing():
        from app.demo import run_demo

    run_demo(data_dir=data_dir, url=url, output=output, n_frames=frames, stop=stop)


class RefusingCommand(click.Command):
    """A command whose exit code 1 means that it found something; what keeps it from running is 2, like a bad option."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AppError as error:
            raise click.UsageError(error.detail, ctx) from error
        except OSError as error:
            if error.strerror is None:
                raise
            raise Unable(f"{error.filename or self.name}: {error.strerror}") from error


def one_of(name: str, values: list[str], words: str) -> Callable[[Command], Command]:
    """An option with a few values, of which the first is the default."""
    return click.option(name, type=click.Choice(values), default=values[0], show_default=True, help=words)


archives_argument = click.argument(
    "archives",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=ExistingPath(exists=True, dir_okay=False, path_type=Path),
)


def target_options(command: Command) -> Command:
    """What an archive is read against, of commands without a server."""
    for option in reversed(
        (
            click.option(
                "--frames",
                "frames_path",
                type=ExistingPath(exists=True, path_type=Path),
                default=None,
                help="The task's pictures: a folder, or a text file with `name [width height]` a line. "
                "Without it the archive's own images are taken.",
            ),
            click.option(
                "--labels",
                "labels_path",
                type=ExistingPath(exists=True, dir_okay=False, path_type=Path),
                default=None,
                help="The task's labels: CVAT's label JSON, or a name a line. Without it those of the archive.",
            ),
            click.option(
                "--format",
                "format_name",
                default=None,
                help="Format, as `Open Images V6 1.0`; default: found from the archive.",
            ),
        )
    ):
        command = option(command)
    return command


def reading_options(command: Command) -> Command:
    """How an archive is read: the same names as at the one-call doors, with dashes."""
    texts = {
        "classes": "Only these classes: names or MIDs, separated by commas.",
        "subsets": "Only images of these subsets.",
        "image_ids": "Only these images: ids, or `subset/id`.",
        "attributes": "Only annotations with these attributes: `name` or `name=value`.",
        "min_confidence": "Only image labels and boxes of this confidence and above.",
        "max_confidence": "And of this and below.",
        "label_types": "Only detections, classifications, segmentations or points.",
        "max_images": "At most so many images.",
        "seed": "Any of the images, not the first ones; the same for the same seed.",
        "map": "Other names for labels and subsets, as `label:Feline=cat,subset:val=validation`.",
    }
    flags = {
        "descendants": "With --classes: the classes below them too.",
        "only_matching": "Of a chosen image only what was asked for, not everything.",
        "annotated_only": "Only images with an annotation.",
        "create_labels": "Take classes that no label means for new labels.",
    }
    for name, text in reversed(flags.items()):
        command = click.option(f"--{name.replace('_', '-')}", is_flag=True, help=text)(command)
    for name, text in reversed(texts.items()):
        command = click.option(f"--{name.replace('_', '-')}", default="", help=text)(command)
    command = click.option(
        "-o",
        "--option",
        "given",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any option of an import by its name there, such as `labels=create`; `image_ids=@list.txt` takes the "
        "value from a file.",
    )(command)
    command = click.option(
        "--conv-mask-to-poly/--keep-masks", default=False, help="Trace masks to polygons, as CVAT does by default."
    )(command)
    machine = one_of(
        "--machine-labels",
        ["keep", "tags"],
        "Machine image labels: kept as a file, or read as image labels.",
    )
    unmatched = one_of(
        "--unmatched",
        ["error", "skip"],
        "Images that are not the task's: an error, or passed over with a warning.",
    )
    return unmatched(machine(command))


def _given(texts: tuple[str, ...]) -> dict[str, Any]:
    """Options as `name=value`, as the doors take them; `name=@file` takes the value from a file."""
    if not texts:
        return {}
    from app.api import import_options_of

    return import_options_of([_from_file(text) for text in texts])


def _from_file(text: str) -> str:
    name, at, path = text.partition("=@")
    if not at:
        return text
    try:
        return f"{name}={Path(path).read_text(encoding='utf-8-sig')}"
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", place=name) from error


class Meter:
    """How far long work is, on a terminal only."""

    STEP_SECONDS = 0.2

    def __init__(self, words: str) -> None:
        self._words, self._shows, self._last = words, sys.stderr.isatty(), 0.0

    def __call__(self, done: float) -> None:
        if self._shows and time.monotonic() - self._last >= self.STEP_SECONDS:
            self._last = time.monotonic()
            click.echo(f"\r{self._words}: {min(max(done, 0.0), 1.0):4.0%}", nl=False, err=True)

    def close(self) -> None:
        if self._shows:
            click.echo("\r" + " " * (len(self._words) + 6) + "\r", nl=False, err=True)


@main.command(cls=RefusingCommand)
@archives_argument
@one_of(
    "--output",
    ["text", "json", "sarif", "junit"],
    "text: a line a problem; json: the report of an import; sarif: for editors and code hosts; junit: for build "
    "servers.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@click.option(
    "--rules",
    default="all",
    show_default=True,
    help="Consistency rules to warn of: all, none, or names separated by commas; -name leaves one out. See below.",
)
@one_of(
    "--fail-on",
    ["error", "warning"],
    "What makes the exit code 1.",
)
@target_options
@reading_options
def check(
    archives: tuple[Path, ...],
    output: str,
    as_json: bool,
    fail_on: str,
    frames_path: Path | None,
    labels_path: Path | None,
    format_name: str | None,
    given: tuple[str, ...],
    **options: Any,
) -> None:
    """Check an archive without a server and report every problem.

    FILE is a zip, or several files that are one archive together: `upload.zip train-masks-*.zip`, or the tables
    themselves. With --frames and --labels of a task the errors and warnings are those of an import into it.

    \b
    Exit code 0: sound    1: problems were found    2: the check could not be made

    \b
    Rules:
      mask_without_box      a mask belongs to no box
      mask_outside_box      a mask reaches out of its box
      mask_far_from_box     a mask fills little of its box
      box_without_label     a box's class is not among its image's labels
      negative_with_box     a class is verified absent, and has a box
      contradicting_labels  a class is verified present and absent
      duplicate_box         two boxes of one class lie on each other
      parent_and_child      so do boxes of a class and one above it
      unused_class          a class is declared, and no row uses it
    """
    from app import findings

    with while_importing():
        from app.check import check_archive

    output = "json" if as_json else output
    options["labels"] = "create" if options.pop("create_labels") else "match"
    meter = Meter("checking")
    settings = load_settings(auth_mode="users")
    found = check_archive(
        settings,
        archives,
        frames_path,
        labels_path,
        format_name,
        options | _given(given),
        meter,
        with_columns=output == "sarif",
    )
    meter.close()
    report, names = found.report, [path.name for path in archives]
    failed = bool(report.n_errors) or (fail_on == "warning" and bool(report.n_warnings))
    if output == "json":
        click.echo(findings.write_json(report), nl=False)
    elif output == "sarif":
        click.echo(findings.write_sarif(report, names, found.columns, failed), nl=False)
    elif output == "junit":
        click.echo(findings.write_junit(report, names), nl=False)
    else:
        click.echo(findings.write_text(report), nl=False)
    if failed:
        raise SystemExit(1)


def parse_size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT in pixels."""
    if value is None:
        return None
    words = value.lower().split("x")
    if len(words) != 2 or not all(word.isdecimal() and 0 < int(word) <= 100_000 for word in words):
        raise click.BadParameter(f"{value!r} is no size; write it as 1024x768", ctx, param)
    return int(words[0]), int(words[1])


@main.command(cls=RefusingCommand)
@archives_argument
@click.argument("output", metavar="OUTPUT", type=click.Path(dir_okay=False, path_type=Path))
@one_of(
    "--layout",
    ["default", "official", "fiftyone"],
    "Names and folders: CVAT's, the official ones, or FiftyOne's.",
)
@one_of(
    "--rotated",
    ["mask", "box", "both"],
    "What a rotated rectangle becomes.",
)
@one_of(
    "--label-ids",
    ["mid", "name"],
    "What rows call labels.",
)
@one_of(
    "--expand",
    ["none", "hierarchy"],
    "hierarchy: copies of rows for every class above, as the challenges' evaluation wants them.",
)
@click.option("--save-images", is_flag=True, help="With the pictures: of --frames, else the archive's own.")
@click.option("--side-file/--no-side-file", default=True, help="With the file that says what the tables cannot.")
@click.option(
    "--documented-image-list/--no-documented-image-list",
    default=True,
    help="The image list a second time, under the name in CVAT's manual.",
)
@click.option("--box-source", default="", help="Source of boxes that no table had.")
@click.option("--tag-source", default="", help="Source of image labels that no table had.")
@click.option(
    "--size",
    callback=parse_size,
    default=None,
    metavar="WIDTHxHEIGHT",
    help="Size of images of which nothing tells it.",
)
@click.option("--force", is_flag=True, help="Write over OUTPUT.")
@target_options
@reading_options
def convert(
    archives: tuple[Path, ...],
    output: Path,
    size: tuple[int, int] | None,
    force: bool,
    frames_path: Path | None,
    labels_path: Path | None,
    format_name: str | None,
    given: tuple[str, ...],
    **options: Any,
) -> None:
    """Write an archive anew: in another layout, with other label names, or only a part of it. No server is needed.

    FILE is a zip, or several files that are one archive together; OUTPUT is the zip to write. What is unchanged is
    written as it came, and every warning goes to the error output.

    \b
    annoport convert upload.zip fiftyone.zip --layout fiftyone --save-images
    annoport convert train.zip train-masks-*.zip cats.zip --classes Cat --descendants --size 1024x768

    \b
    Exit code 0: OUTPUT is written    1: the archive is refused    2: nothing could be tried
    """
    import dataclasses

    from app import findings

    with while_importing():
        from app.convert import convert_archive
    from app.errors import ImportProblems
    from app.formats import ExportOptions, SelectionOptions

    if output.exists() and not force:
        raise click.UsageError(f"{output} is there already; --force writes over it")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"{output} cannot be written: there is no folder {output.parent}; make it first")
    selection = {field.name for field in dataclasses.fields(SelectionOptions)}
    names = {field.name for field in dataclasses.fields(ExportOptions)} - selection - {"mask_helpers"}
    export_options = ExportOptions(**{name: options.pop(name) for name in names})
    options["labels"] = "create" if options.pop("create_labels") else "match"
    meter = Meter("converting")
    try:
        report = convert_archive(
            load_settings(auth_mode="users"),
            archives,
            output,
            frames_path,
            labels_path,
            format_name,
            options | _given(given),
            export_options,
            size,
            meter,
        )
    except ImportProblems as problems:
        meter.close()
        click.echo(findings.write_text(problems.report), nl=False, err=True)
        raise SystemExit(1) from None
    meter.close()
    click.echo(findings.write_text(report), nl=False, err=True)
    click.echo(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(prog_name="annoport")
