"""`pytest --nbmake notebooks` runs each notebook as it stands and finds what it is saved with: text, kinds of output, errors.

`pytest --nbmake --overwrite notebooks` saves what it shows now. When a cell ran is left out, so that a notebook changes only with
what it shows. Pictures are compared by their kind alone: their bytes are matplotlib's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbmake import pytest_items
from nbmake.nb_result import NotebookError, NotebookResult
from nbmake.nb_run import NotebookRun

ROOT = Path(__file__).parents[1]


class ComparedRun(NotebookRun):
    """A run that fails also if a cell shows something else than it is saved with; `keeps` what it shows if it is to be saved."""

    keeps = False

    def execute(self) -> NotebookResult:
        """Run the cells; the result's error is theirs, or the difference."""
        result = super().execute()
        for cell in result.nb.cells:
            cell.metadata.pop("execution", None)
        if result.error is None and not self.keeps:
            result.error = difference(nbformat.read(self.filename, as_version=4), result.nb)
        return result


def difference(saved: Any, now: Any) -> NotebookError | None:
    """The first cell that shows something else than it is saved with."""
    for number, (before, after) in enumerate(zip(saved.cells, now.cells, strict=True)):
        told, shown = outputs_of(before), outputs_of(after)
        if told != shown:
            summary = f"cell {number} shows something else than it is saved with; `--nbmake --overwrite` saves what it shows"
            return NotebookError(summary, "\n".join([summary, after.source, "--- saved", *told, "--- now", *shown]), number)
    return None


def outputs_of(cell: Any) -> list[str]:
    """What a cell shows, as text: each output's kinds, and its text where that is the same on every machine."""
    return [text for output in cell.get("outputs", ()) for text in (kinds_of(output), text_of(output))]


def kinds_of(output: Any) -> str:
    """MIME types, the name of a stream, or that of an error."""
    return " ".join(sorted(output.get("data") or [output.get("name") or output.ename]))


def text_of(output: Any) -> str:
    """An output as a terminal would show it."""
    return str(output.get("text") or output.get("evalue") or output.get("data", {}).get("text/plain", ""))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Jupyter's own warnings fail no notebook."""
    for item in items:
        if isinstance(item, pytest_items.NotebookItem):
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let nbmake compare, with the library of this tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setattr(ComparedRun, "keeps", item.config.option.overwrite)
        patch.setattr(pytest_items, "NotebookRun", ComparedRun)
        return (yield)
