"""Each notebook runs as it stands, within seconds, and shows what it is saved with: tables, pictures, and what was run."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_LINK = re.compile(r"\[[^]]*\]\(([^)#\s]+)")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def shown(notebook: Any) -> list[list[str]]:
    """For each code cell the kinds of its outputs: MIME types, `stdout`, or the name of an error."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[kind for output in cell.outputs for kind in kinds_of(output)] for cell in cells]


def kinds_of(output: Any) -> list[str]:
    return sorted(output.get("data") or [output.get("name") or output.get("ename") or "error"])


def of_whom(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=of_whom)
def test_it_is_saved_with_its_outputs_small_and_without_traces_of_a_machine(path: Path) -> None:
    assert path.stat().st_size < 500_000
    notebook = read(path)
    wanted = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert not any("stderr" in outputs for outputs in shown(notebook))
    for cell in wanted:
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.source
    outputs = [kind for kinds in shown(notebook) for kind in kinds]
    assert outputs.count("image/png") >= 2
    assert outputs.count("text/html") >= 2
    text = path.read_text(encoding="utf-8")
    for place in ("site-packages", "/home/", f"{tempfile.gettempdir()}/", f"{ROOT}/"):
        assert place not in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=of_whom)
def test_its_links_lead_to_files(path: Path) -> None:
    for cell in read(path).cells:
        for link in _LINK.findall(cell.source) if cell.cell_type == "markdown" else ():
            assert (path.parent / link).is_file(), link


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=of_whom)
def test_it_runs_and_shows_what_it_is_saved_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    saved = shown(read(path))
    notebook = read(path)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    assert shown(notebook) == saved
