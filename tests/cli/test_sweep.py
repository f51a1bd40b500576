"""`svcsim sweep`: points from the command line, a folder that goes on, errors before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcsim.cli.main import run
from tests.sweep.test_tasks import TEXT

SHORT = TEXT.replace("replications: 3", "replications: 1")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SHORT)


def test_a_grid_leaves_a_table_and_a_figure_a_metric(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "small.yaml", "--set", "workloads[0].arrivals=20/s,40/s,80/s", "--metric", "p50", "--metric", "success"]
    assert run([*words, "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "workloads[0].arrivals" in out
    assert out.splitlines()[-1] == "results in sweeps/small"
    assert len(Path("sweeps/small/results.csv").read_text().splitlines()) == 1 + 6
    assert sorted(path.name for path in Path("sweeps/small/figures").glob("*.svg")) == ["latency.p50.svg", "success.svg"]


def test_a_latin_hypercube_and_a_list_are_points_too() -> None:
    words = ["--quiet", "--no-figures", "--metric", "p50", "--jobs", "1"]
    axes = ["--set", "workloads[0].arrivals=20/s..60/s", "--set", "run.seed=4"]
    assert run(["sweep", "small.yaml", "--lhs", "3", *axes, *words]) == 0
    lines = Path("sweeps/small/results.csv").read_text().splitlines()
    assert len({line.split(",")[4] for line in lines[1:]}) == 3
    Path("points.csv").write_text("workloads[0].arrivals,run.seed\n20/s,1\n30/s,2\n")
    assert run(["sweep", "small.yaml", "--points", "points.csv", "--out", "listed", *words]) == 0
    assert len(Path("listed/results.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to sweep"),
        (["--set", "run.seed"], "PATH=VALUE"),
        (["--set", "run.sed=1,2"], "did you mean 'seed'"),
        (["--set", "run.seed=1,2", "--metric", "p12"], "no metric"),
        (["--set", "run.seed=1,2", "--lhs", "4"], "needs a range"),
        (["--set", "run.seed=1..9", "--set", "run.replications=1,2", "--lhs", "4"], "list of values"),
        (["--points", "none.csv"], "can't read none.csv"),
        (["--points", "small.yaml", "--lhs", "4"], "neither --set nor --lhs"),
        (["--set", "run.seed=1,2", "--out", "."], "not a folder of a sweep"),
        (["--set", "run.seed=1,2", "--dask", "tcp://x:1", "--jobs", "2"], "either --dask or --jobs"),
    ],
)
def test_a_call_that_cannot_be_met_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["sweep", "small.yaml", *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("sweeps").exists()
