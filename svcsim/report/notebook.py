"""Progress in a notebook: a bar and a line of HTML that are rewritten in place, without widgets.

What stays in the notebook says what was run and no time of the wall, so that a saved notebook changes only with its results.
"""

from __future__ import annotations

import html
import sys
from types import TracebackType
from typing import Any

from svcsim.report.progress import Progress


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel; asks without importing IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def progress_of(runs: int, duration_ns: int, wanted: bool | None = None) -> Progress:
    """Progress for a call of the library: shown in a notebook; elsewhere on standard error if it is `wanted`, else not at all."""
    if wanted is not False and in_notebook():
        return NotebookProgress(runs, duration_ns)
    return Progress(runs, duration_ns, quiet=not wanted)


class NotebookProgress(Progress):
    """The same line as at a terminal, in the output of the cell that runs."""

    def __init__(self, runs: int, duration_ns: int) -> None:
        super().__init__(runs, duration_ns)
        self._live = True
        self._display: Any = None

    def _show(self) -> None:
        share = self.share()
        facts = html.escape(self.facts())
        self._put(f'<progress value="{share:.3f}" max="1" style="width: 16em"></progress> <small>{facts}</small>', facts)

    def _put(self, markup: str, text: str) -> None:
        from IPython.display import display

        data = {"text/html": markup, "text/plain": text}
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._display.update(data, raw=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runs = "1 run" if self._runs == 1 else f"{self._runs:,} runs"
        words = f"{runs} · {self.requests():,} requests" if kind is None else f"{self._finished} of {runs}, then interrupted"
        self._put(f"<small>{words}</small>", words)
