"""docs/ builds as a site without a warning, and the site has what the program itself says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from svcsim.scenario import json_schema
from tests.docs.pages import DOCS, ROOT, page
from tests.docs.reference import PAGES

pytest.importorskip("sphinx", reason="the site needs the extra `docs`")
pytest.importorskip("myst_nb", reason="the site needs the extra `docs`")
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


def test_the_site_has_every_notebook_as_it_is_saved(site: Path) -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shown = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert shown.count('<div class="output') > 3, path.stem
        assert "<img " in shown
    assert 'href="notebooks/compare_modes.html"' in (site / "notebooks.html").read_text(encoding="utf-8")


def test_the_site_has_the_schema_for_editors_and_the_library(site: Path) -> None:
    assert json.loads((site / "scenario.schema.json").read_text(encoding="utf-8")) == json_schema()
    library = (site / "api.html").read_text(encoding="utf-8")
    for name in ("svcsim.compare", "svcsim.run_sweep", "svcsim.report.plot.timeline"):
        assert f'id="{name}"' in library


@pytest.mark.parametrize("name", PAGES)
def test_what_the_program_writes_stands_on_its_page(name: str) -> None:
    """When it differs: `python -m tests.docs.reference` writes the page."""
    assert page(name) == PAGES[name]()


def test_the_site_names_no_place_of_the_machine_that_made_it(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert f"{ROOT}/" not in path.read_text(encoding="utf-8"), path.name
