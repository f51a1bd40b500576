"""`svcsim report` and `svcsim explain`, on a folder that a run has left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svcsim.cli.main import run
from svcsim.results.comparison import Comparison
from svcsim.results.folder import write
from tests.results.synthetic import failover


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(Comparison(failover(("iptables", "ipvs/lc"), rate_per_s=40)), tmp_path / "results")


def test_explain_says_why_in_lines_of_a_hundred_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(folder), "--slowest", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line[:2] for line in lines if line[:1].isdigit()] == ["1.", "2.", "3.", "4."]


def test_explain_as_json_has_the_records_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(folder), "--slowest", "3", "--mode", "ipvs/lc", "--outcome", "failed", "--json"]) == 0
    requests = json.loads(capsys.readouterr().out)["requests"]
    assert len(requests) == 3
    for each in requests:
        assert each["mode"] == "ipvs/lc"
        assert each["outcome"] != "ok"
        assert sum(each["parts"].values()) == each["latency_ns"]
        assert each["reasons"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--mode", "iptabels", "did you mean 'iptables'"), ("--workload", "x", "no workload 'x'")],
)
def test_a_name_that_there_is_not_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    assert run(["explain", str(folder), option, value]) == 2
    assert message in capsys.readouterr().err


def test_report_writes_the_page_and_replaces_none_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}/report.html\n"
    first = (folder / "report.html").read_bytes()
    assert run(["report", str(folder)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["report", str(folder), "--force"]) == 0
    assert (folder / "report.html").read_bytes() == first
    capsys.readouterr()
    assert run(["report", str(folder), "--out", "-"]) == 0
    assert capsys.readouterr().out.encode() == first


def test_a_folder_without_results_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("report", "explain"):
        assert run([command, str(tmp_path)]) == 2
        assert "is not a folder of results" in capsys.readouterr().err
