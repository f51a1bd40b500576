"""The documentation as a site: Sphinx reads the Markdown pages and the notebooks as they are. `make docs` builds it.

Notebooks are shown with the outputs that they are saved with; nothing is executed.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from svcsim.scenario import json_schema
from svcsim.version import __version__

NOTEBOOKS = Path(__file__).with_name("notebooks")
if not NOTEBOOKS.exists():  # a source distribution has no links
    NOTEBOOKS.symlink_to(Path("..", "notebooks"))

project = "svcsim"
author = "the authors of svcsim"
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["README.md", "_build", "**.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"
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
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "native"


_NOTEBOOK = re.compile(r"\[([^\[\]\n]*)\]\((?:\.\./notebooks/)?(\w+)\.ipynb\)")


_CHANGELOG = "[CHANGELOG.md](../CHANGELOG.md)"


def linked_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to files beside docs/ that are on pages here: notebooks, of which docs/notebooks is a link, and the changelog."""
    source[0] = _NOTEBOOK.sub(r"{doc}`\1 </notebooks/\2>`", source[0]).replace(_CHANGELOG, "`CHANGELOG.md`")


def schema_file(app: Sphinx, error: Exception | None) -> None:
    """The JSON Schema of the scenario file, at an address that an editor can be given."""
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    (app.outdir / "scenario.schema.json").write_text(f"{text}\n", encoding="utf-8")


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
    app.connect("source-read", linked_pages)
    app.connect("build-finished", schema_file)
    app.connect("autodoc-process-docstring", indented_code)
