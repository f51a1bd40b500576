"""docs/commands.md names every command with its options, and the transcripts of the pages show what the commands print."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from svcsim.cli.main import COMMANDS, cli
from tests.docs.pages import page, sections
from tests.docs.transcripts import replayed, shape

PAGE = page("commands.md")
SECTIONS = {section.title.replace("`", ""): section for section in sections(PAGE)}


def spellings(command: click.Command) -> set[str]:
    """How the options and arguments of a command are written."""
    found = {"-h", "--help"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            found |= {*parameter.opts, *parameter.secondary_opts}
        else:
            found.add(parameter.human_readable_name.upper())
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_section_with_each_of_its_options_and_no_other(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    section = SECTIONS[f"svcsim {name}"]
    told = {word.partition(" ")[0] for row in section.rows for word in re.findall(r"`([^`]+)`", row[0])}
    if not section.rows:
        told = set(re.findall(r"`(-[^`]+)`", section.text))
    assert told == spellings(command)
    assert f"$ svcsim {name} " in section.text


def test_each_exit_code_has_its_meaning() -> None:
    codes = [row[0] for row in SECTIONS["Commands"].rows if row[0].isdigit()]
    assert codes == ["0", "1", "2", "3", "130", "141"]


@pytest.mark.parametrize("name", ["commands.md", "discovery.md", "tutorial.md"])
def test_each_command_of_the_page_prints_what_the_page_shows_but_for_figures(name: str, tmp_path: Path) -> None:
    """When one differs: `python -m tests.docs.transcripts docs/NAME` writes the outputs of now into the page."""
    for command, printed, now in replayed(page(name), tmp_path):
        assert shape(now) == shape(printed), command
