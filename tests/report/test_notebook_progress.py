"""Progress in a notebook: one display that is rewritten, and at the end a line without a time."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from svcsim.report.notebook import NotebookProgress, in_notebook, progress_of
from svcsim.units import S


class Shown:
    """What `IPython.display.display` was given, and the handle that it returns."""

    def __init__(self) -> None:
        self.data: list[dict[str, str]] = []

    def display(self, data: dict[str, str], **_: Any) -> Shown:
        self.data.append(data)
        return self

    update = display


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    found = Shown()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=found.display))  # type: ignore[arg-type]
    return found


def test_a_kernel_shows_a_bar_and_keeps_what_was_run(shown: Shown) -> None:
    assert in_notebook()
    with progress_of(2, 10 * S) as progress:
        assert isinstance(progress, NotebookProgress)
        progress.update("ipvs <rr>", 100, 5 * S)
        progress.finish("ipvs <rr>", 1200)
    assert shown.data[0]["text/html"].startswith('<progress value="0.250" max="1"')
    assert "ipvs &lt;rr&gt; at 5 s" in shown.data[0]["text/html"]
    assert shown.data[-1] == {"text/html": "<small>2 runs · 1,200 requests</small>", "text/plain": "2 runs · 1,200 requests"}


def test_an_interruption_is_said(shown: Shown) -> None:
    def interrupted() -> None:
        with progress_of(3, S) as progress:
            progress.finish("a", 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shown.data[-1]["text/plain"] == "1 of 3 runs, then interrupted"


def test_a_call_that_wants_none_shows_none(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of(2, S, wanted=False) as progress:
        progress.finish("a", 10)
    assert shown.data == []
    assert capsys.readouterr().err == ""


def test_outside_of_a_notebook_a_call_is_silent_unless_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted, printed in ((None, ""), (True, "1 of 2  a  10 requests\n")):
        with progress_of(2, S, wanted=wanted) as progress:
            progress.finish("a", 10)
        assert capsys.readouterr().err == printed
