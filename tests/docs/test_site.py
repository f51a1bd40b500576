"""docs/ builds as a site without a warning, and the site has what the program itself says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from svcsim.cli.main import COMMANDS
from tests.docs.pages import DOCS, ROOT

pytest.importorskip("sphinx", reason="the site needs the extra `docs`")
pytest.importorskip("myst_parser", reason="the site needs the extra `docs`")
pytest.importorskip("furo", reason="the site needs the extra `docs`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "trees")]
    call = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.stem for path in DOCS.glob("*.md")} - {"README"}
    assert {path.stem for path in site.glob("*.html")} >= pages


def test_the_site_has_the_help_of_every_command_the_schema_and_the_library(site: Path) -> None:
    shown = (site / "help.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"Usage: svcsim {name}" not in shown] == []
    assert "https://json-schema.org/draft/2020-12/schema" in (site / "schema.html").read_text(encoding="utf-8")
    library = (site / "api.html").read_text(encoding="utf-8")
    for name in ("svcsim.compare", "svcsim.run_sweep", "svcsim.report.plot.timeline"):
        assert f'id="{name}"' in library


def test_the_site_names_no_place_of_the_machine_that_made_it(site: Path) -> None:
    for path in site.glob("*.html"):
        assert f"{ROOT}/" not in path.read_text(encoding="utf-8"), path.name
