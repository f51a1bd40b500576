"""`--at` of every command that looks at a moment: within the run, or refused at once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from svcsim.cli.main import run
from svcsim.report.progress import Progress
from tests.world.small import SMALL


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


@pytest.mark.parametrize(
    "words",
    [
        ["trace", "--from", "deployment/client", "--to", "web:80", "--at", "1000h"],
        ["get", "pods", "--at", "1000h"],
        ["events", "--at", "1000h"],
        ["dns", "web.default", "--at", "1000h"],
        ["env", "deployment/web[0]", "--at", "1000h"],
        ["rules", "--node", "worker-1", "--at", "1000h"],
        ["rules", "--node", "worker-1", "--diff", "1000h"],
    ],
    ids=" ".join,
)
def test_a_time_after_the_end_of_the_run_is_refused_at_once(
    scenario: str, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run([words[0], scenario, *words[1:]]) == 2
    said = capsys.readouterr()
    assert f"{words[-2]} 1000h is after the end of the run at 20s" in said.err
    assert said.out == ""


def test_the_very_end_is_a_moment_of_the_run(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["get", scenario, "nodes", "--at", "2s", "--set", "run.duration=2s"]) == 0
    assert "worker-1" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience_s", "shown"), [(3600.0, False), (0.0, True)])
def test_how_far_it_is_is_shown_after_a_while_and_does_not_stay(patience_s: float, shown: bool) -> None:
    stream = _Terminal()
    with Progress(1, 100, stream=stream, patience_s=patience_s - 0.1) as progress:
        progress.update("iptables", 7, 50)
    assert ("7 requests" in stream.getvalue()) == shown
    assert stream.getvalue().endswith("\r\x1b[K")
