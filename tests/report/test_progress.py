"""Progress: rewritten on a terminal, a line a run in a log, nothing when quiet."""

from __future__ import annotations

import io
import re

import pytest

from svcsim.report.progress import Progress
from svcsim.units import S


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with Progress(2, 100 * S, stream=stream) as progress:
        progress.update("iptables", 1000, 50 * S)
        progress.finish("iptables", 2000)
        progress.update("nftables", 500, 10 * S)
    written = stream.getvalue()
    assert written.startswith("\r\x1b[K")
    assert written.count("\n") == 1
    last = written.rsplit("\r\x1b[K", 1)[1]
    assert re.fullmatch(r"━+─+ 1 of 2 · nftables at 10 s · 2,500 requests · [\d,]+ requests/s · 0:00:\d\d\n", last)


def test_the_line_counts_runs_of_other_processes_together() -> None:
    progress = Progress(4, 100 * S, stream=io.StringIO())
    progress.update("a", 10, 100 * S)
    progress.update("b", 20, 100 * S)
    assert "30 requests" in progress.line()
    assert progress.line().startswith("━" * 13 + "─" * 13 + " 0 of 4")


def test_a_log_sees_a_line_a_finished_run() -> None:
    stream = io.StringIO()
    with Progress(2, S, stream=stream) as progress:
        progress.update("iptables", 1, 1)
        progress.finish("iptables", 1200)
        progress.finish("nftables", 7)
    assert stream.getvalue() == "1 of 2  iptables  1,200 requests\n2 of 2  nftables  7 requests\n"


def test_quiet_says_nothing() -> None:
    stream = Terminal()
    with Progress(2, S, quiet=True, stream=stream) as progress:
        progress.update("iptables", 1, 1)
        progress.finish("iptables", 1)
    assert stream.getvalue() == ""


def test_an_interrupt_clears_the_line() -> None:
    def interrupted(stream: Terminal) -> None:
        with Progress(1, S, stream=stream) as progress:
            progress.update("iptables", 1, 1)
            raise KeyboardInterrupt

    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        interrupted(stream)
    assert stream.getvalue().endswith("\r\x1b[K")
