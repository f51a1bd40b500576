"""A sweep keeps what has ended, goes on after an interruption, and gives the same bytes on any executor."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from svcsim.errors import InputError, UsageError
from svcsim.results.measured import Measured
from svcsim.sweep import tasks as module
from svcsim.sweep.dask import dask_executor
from svcsim.sweep.grid import Axis, grid
from svcsim.sweep.sweeping import Plan, plan, run_sweep
from svcsim.sweep.tasks import Task
from tests.sweep.test_tasks import TEXT, _perform_once_dying


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    proxies = Axis("kubernetes.proxy", ({"mode": "iptables"}, {"mode": "nftables"}))
    axes = [Axis("workloads[0].arrivals", ("30/s", "60/s")), proxies]
    return plan(path, grid(axes), overrides={"run.replications": 2}, metrics=["p99", "requests"])


def test_a_path_that_is_swept_is_not_compared_beside_it(planned: Plan) -> None:
    assert [task.job.label for task in planned.tasks] == ["iptables"] * 2 + ["nftables"] * 2 + ["iptables"] * 2 + ["nftables"] * 2


def test_the_table_is_tidy_a_run_a_line(planned: Plan, tmp_path: Path) -> None:
    swept = run_sweep(planned, tmp_path / "out", processes=1)
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert lines[0] == "point,variant,replication,seed,workloads[0].arrivals,kubernetes.proxy,latency.p99,requests,fingerprint"
    assert [line.split(",")[:6] for line in lines[1:3]] == [
        ["0", "iptables", "0", "1", "30/s", "iptables"], ["0", "iptables", "1", "2", "30/s", "iptables"],
    ]
    assert len(lines) == 1 + 8
    frame = swept.to_pandas()
    assert list(frame["requests"]) == [row.found.requests for row in swept.rows]


def test_after_an_interruption_only_what_is_missing_is_run(
    planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_sweep(planned, tmp_path / "whole", processes=1).csv_text()
    ended: list[Task] = []

    def stop_after_three(task: Task, found: Measured) -> None:
        ended.append(task)
        if len(ended) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(planned, tmp_path / "out", processes=1, on_end=stop_after_three)
    assert len(list((tmp_path / "out" / "done").glob("*.json"))) == 3
    assert not (tmp_path / "out" / "results.csv").exists()
    ran: list[int] = []
    real = module.perform
    monkeypatch.setattr(module, "perform", lambda task: ran.append(task.number) or real(task))
    assert run_sweep(planned, tmp_path / "out", processes=1).csv_text() == whole
    assert ran == [3, 4, 5, 6, 7]
    ran.clear()
    run_sweep(planned, tmp_path / "out", processes=1)
    assert ran == []


def test_a_kept_run_that_is_broken_is_named(planned: Plan, tmp_path: Path) -> None:
    run_sweep(planned, tmp_path / "out", processes=1)
    first = sorted((tmp_path / "out" / "done").glob("*.json"))[0]
    first.write_text("{")
    with pytest.raises(UsageError, match=first.name):
        run_sweep(planned, tmp_path / "out", processes=1)


def test_a_point_at_which_there_is_no_scenario_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    with pytest.raises(InputError, match="duration"):
        plan(path, grid([Axis("run.duration", ("2s", "soon"))]))
    with pytest.raises(UsageError, match=r"run\.seed=1: there is no metric"):
        plan(path, grid([Axis("run.seed", (1,))]), metrics=["p98"])


def test_a_dask_cluster_gives_the_same_bytes_even_when_a_worker_dies(
    planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    whole = run_sweep(planned, tmp_path / "here", processes=2)
    monkeypatch.setenv("SVCSIM_TEST_MARKER", str(tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(Path(__file__).parents[2])])[1:])
    monkeypatch.setattr(module, "perform", _perform_once_dying)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
            address = cluster.scheduler_address
            swept = run_sweep(planned, tmp_path / "there", open_executor=lambda: dask_executor(address))
    assert (tmp_path / "died").exists()
    assert swept.csv_text() == whole.csv_text()
    for name in ("results.csv", "results.parquet"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_a_scheduler_that_does_not_answer_is_an_error_in_a_line() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        dask_executor("nonsense://127.0.0.1:1")
