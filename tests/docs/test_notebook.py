"""Each notebook is saved as it ran: its outputs in order, small, with tables and pictures, its links alive.

That it runs as it stands and shows what it is saved with is found by `pytest --nbmake notebooks` (notebooks/conftest.py).
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest

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


def test_its_cells_ran_once_and_in_order() -> None:
    for path in NOTEBOOKS:
        counts = [cell.execution_count for cell in read(path).cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1)), path.stem


def test_what_a_cell_shows_is_compared_with_what_it_is_saved_with() -> None:
    """Text to the letter, pictures by their kind."""
    spec = importlib.util.spec_from_file_location("compared", ROOT / "notebooks" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    compared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compared)

    def notebook(text: str, picture: str) -> Any:
        data = {"image/png": picture, "text/plain": "<Figure>"}
        outputs = [nbformat.v4.new_output("stream", text=text), nbformat.v4.new_output("display_data", data=data)]
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("answer()", outputs=outputs)])

    assert compared.difference(notebook("42\n", "old"), notebook("42\n", "new")) is None
    found = compared.difference(notebook("41\n", "old"), notebook("42\n", "old"))
    assert found.failing_cell_index == 0
    assert "--- saved\nstdout\n41" in found.trace
    assert compared.difference(notebook("42\n", "old"), nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")]))
