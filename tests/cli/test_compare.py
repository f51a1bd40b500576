"""`svcsim compare`: a table of verdicts, JSON and a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svcsim.cli.main import run
from svcsim.cli.overrides import comparison_of
from svcsim.errors import UsageError
from tests.sweep.test_tasks import TEXT


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def test_the_table_names_the_base_and_gives_every_other_variant_a_verdict(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", str(scenario), "--replications", "3", "--metric", "p50", "--metric", "success", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "difference to iptables" in out
    rows = [line for line in out.splitlines() if line.startswith("  nftables")]
    assert len(rows) == 2
    assert rows[1].endswith("equal in every run")
    assert all(len(line) <= 100 for line in out.splitlines())


def test_json_and_figure_are_written(scenario: Path, tmp_path: Path) -> None:
    words = ["compare", str(scenario), "--over", "kubernetes.proxy=ipvs/lc,ipvs/rr", "--replications", "2", "--metric", "p99"]
    assert run([*words, "--quiet", "--json", "found.json", "--figure", "found.svg"]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["base"] == "ipvs/lc"
    assert [row["variant"] for row in found["contrasts"]] == ["ipvs/lc", "ipvs/rr"]
    assert len(found["runs"]) == 4
    assert (tmp_path / "found.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "compare={}"], "compares nothing"),
        (["--base", "ipvs"], "no variant 'ipvs'"),
        (["--figure", "x.gif"], "is written as"),
        (["--json", "nowhere/x.json"], "no folder nowhere"),
        (["--over", "kubernetes.proxy"], "PATH=VALUE"),
        (["--over", "kubernetes.proxy=iptables", "--over", "kubernetes.proxy=ipvs"], "given twice"),
    ],
)
def test_a_call_that_cannot_be_met_is_refused_before_anything_runs(
    scenario: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["compare", str(scenario), *words]) == 2
    assert message in capsys.readouterr().err


def test_values_may_hold_commas_in_brackets_and_quotes() -> None:
    assert comparison_of(["a.b={x: 1, y: 2},3", "c='p,q',r"]) == {
        "compare": {"a.b": [{"x": 1, "y": 2}, 3], "c": ["p,q", "r"]}
    }
    with pytest.raises(UsageError, match="no scheduler of IPVS 'lx'"):
        comparison_of(["kubernetes.proxy=ipvs/lx"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "outage"], "outage: the fault comes at 50s, when the run of 1s is over"),
        (["--metric", "p99", "--metric", "outage of fault[0]"], "outage of fault[0]: the fault comes at 50s"),
        (["--metric", "p99 during 5s..6s"], "latency.p99 during 5s..6s: the window begins at 5s, when the run of 1s is over"),
    ],
)
def test_what_never_comes_is_refused_before_anything_runs(
    scenario: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    late = ["--set", "run.duration=1s", "--set", "faults=[{at: 50s, kill: 'deployment/web[0]'}]"]
    assert run(["compare", str(scenario), *late, *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_what_no_run_has_a_sample_of_is_no_table_but_a_mistake(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    never = ["--set", "workloads[0].timeout=1us", "--replications", "2", "--jobs", "1"]
    assert run(["compare", str(scenario), *never, "--metric", "p99"]) == 2
    said = capsys.readouterr()
    assert "verdict" not in said.out
    assert said.err.strip().splitlines()[-1].startswith("no run has a sample of what was asked: latency.p99:")
    assert run(["compare", str(scenario), *never, "--metric", "p99", "--metric", "success"]) == 0
    said = capsys.readouterr()
    assert "latency.p99" not in said.out
    assert "note: latency.p99:" in said.err
