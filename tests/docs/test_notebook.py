"""notebooks/compare_modes.ipynb runs as it stands, within seconds, and shows tables and pictures."""

from __future__ import annotations

import tempfile
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT

FILE = ROOT / "notebooks" / "compare_modes.ipynb"


def read() -> Any:
    return nbformat.read(FILE, as_version=4)


def kinds(notebook: Any) -> list[list[str]]:
    """For each code cell the kinds of its outputs: MIME types, `stdout`, or an error's name."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[kind for output in cell.outputs for kind in kinds_of(output)] for cell in cells]


def kinds_of(output: Any) -> list[str]:
    return sorted(output.get("data") or [output.get("name", "error")])


def test_it_is_saved_with_its_outputs_small_and_without_traces_of_a_machine() -> None:
    assert FILE.stat().st_size < 400_000
    shown = kinds(read())
    assert all(outputs and "error" not in outputs and "stderr" not in outputs for outputs in shown)
    assert sum("image/png" in outputs for outputs in shown) >= 2
    assert sum("text/html" in outputs for outputs in shown) >= 4
    text = FILE.read_text(encoding="utf-8")
    for place in ("site-packages", "/home/", f"{tempfile.gettempdir()}/", f"{ROOT}/"):
        assert place not in text


@pytest.mark.filterwarnings("default")
def test_it_runs_and_shows_what_it_is_saved_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    saved = kinds(read())
    notebook = read()
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FILE.parent)}}).execute()
    assert kinds(notebook) == saved
