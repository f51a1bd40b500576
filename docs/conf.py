"""The documentation as a site: Sphinx reads the Markdown pages of this folder as they are. `make docs` builds it.

Two directives draw what the program itself knows: `command-help`, the help of every command, and `scenario-schema`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parents[1]))

from svcsim.cli.main import COMMANDS, cli
from svcsim.scenario import json_schema
from svcsim.version import __version__

project = "svcsim"
author = "the authors of svcsim"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["README.md", "_build"]
source_suffix = {".md": "markdown"}
root_doc = "index"
default_role = "literal"
suppress_warnings = ["misc.highlighting_failure", "toc.empty_glob"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 6

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 76

html_theme = "furo"
html_title = f"svcsim {__version__}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "native"


_COLUMNS = 94
"""So wide is a block of code on a page."""


class CommandHelp(SphinxDirective):
    """The help of every command, each in a section of its own, as `svcsim COMMAND --help` prints it."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """A section a command."""
        names = cli.context_settings["help_option_names"]
        top = click.Context(cli, info_name="svcsim", terminal_width=_COLUMNS, help_option_names=names)
        return [_section(name, _help(name, top)) for name in COMMANDS]


def _help(name: str, top: click.Context) -> str:
    command = cli.get_command(top, name)
    assert command is not None
    return command.get_help(click.Context(command, parent=top, info_name=name))


def _section(name: str, text: str) -> nodes.section:
    section = nodes.section(ids=[f"help-{name}"])
    section += nodes.title(text=f"svcsim {name}")
    section += nodes.literal_block(text, text, language="text")
    return section


class ScenarioSchema(SphinxDirective):
    """The JSON Schema of the scenario file, as `svcsim schema` prints it."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """One block."""
        text = json.dumps(json_schema(), indent=2, ensure_ascii=False)
        return [nodes.literal_block(text, text, language="json")]


def indented_code(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are Markdown: an indented block is code there, which reStructuredText wants to be told."""
    found: list[str] = []
    for place, line in enumerate(lines):
        begins = line.startswith("    ") and place > 0 and not lines[place - 1].strip() and not line.lstrip().startswith(">>>")
        if begins and not any(earlier.startswith("    ") for earlier in lines[max(0, place - 2) : place]):
            found += ["::", ""]
        found.append(line)
    lines[:] = found


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("scenario-schema", ScenarioSchema)
    app.connect("autodoc-process-docstring", indented_code)
