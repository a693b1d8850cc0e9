"""What the README says is what the code does: settings, formats, commands, the house."""

import re
from pathlib import Path

import click
import pytest

from app.cli import main
from app.formats import FORMATS
from app.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_rows() -> dict[str, tuple[str, str]]:
    """Setting → (default, meaning) as Settings has them, in the form of the README's table."""
    rows = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        text = f"`{default}`" if default not in ("", None) else "–"
        rows[f"ANNOPORT_{name.upper()}"] = (text, field.description or "")
    return rows


def test_the_settings_table_is_the_settings_class() -> None:
    found = {}
    for line in README.splitlines():
        match = re.fullmatch(r"\| `(ANNOPORT_\w+)` \| (.+?) \| (.+?) \|", line)
        if match:
            found[match.group(1)] = (match.group(2), match.group(3))
    assert found == settings_rows()


def test_every_setting_has_a_meaning() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_formats_table_is_the_registry() -> None:
    names = re.findall(r"^\| `([^`]+ \d\.\d)` \|", README, re.MULTILINE)
    assert names == [format_.display_name for format_ in FORMATS]


def test_every_command_named_in_the_readme_exists() -> None:
    for words in re.findall(r"annoport ((?:[a-z]+ ?){1,2})", README):
        command: click.Command = main
        for word in words.split():
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif isinstance(command, click.Group):
                pytest.fail(f"the README says `annoport {words}`, there is no command {word!r}")


def test_every_command_explains_itself() -> None:
    def walk(command: click.Command, path: str) -> None:
        assert command.help, f"{path} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{path} {parameter.name} has no help"
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                walk(child, f"{path} {name}")

    walk(main, "annoport")


def test_every_package_of_the_house_is_in_the_readme() -> None:
    packages = sorted(path.parent.name for path in (ROOT / "app").glob("*/__init__.py"))
    assert [name for name in packages if f"{name}/" not in README] == []


if __name__ == "__main__":  # prints the table, to be pasted when a setting was added
    print("| setting | default | meaning |\n|---|---|---|")
    for setting, (default_text, meaning) in settings_rows().items():
        print(f"| `{setting}` | {default_text} | {meaning} |")
