"""Tasks give the same figures wherever they run, and a lost worker costs none of them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from svcsim import loads
from svcsim.errors import SimulationError, UsageError
from svcsim.results.measured import Measured
from svcsim.scenario.figures import figures_of
from svcsim.sweep import tasks as module
from svcsim.sweep.runs import jobs_of
from svcsim.sweep.tasks import Task, perform, perform_all

TEXT = """
apiVersion: svcsim/v1
kind: Scenario
metadata: {name: small}
manifests:
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, selector: {matchLabels: {app: web}},
     template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, ports: [{containerPort: 80}]}]}}}}
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
workloads:
  - {name: load, to: "http://web:80", arrivals: {poisson: 50/s}}
run: {duration: 2s, warmup: 0s, replications: 3}
compare: {kubernetes.proxy: [iptables, nftables]}
"""


def tasks() -> list[Task]:
    scenario = loads(TEXT)
    figures = figures_of(scenario, ["p99", "success"])
    return [Task(job.number, job, variant, figures) for job, variant in jobs_of(scenario)]


def test_any_executor_and_number_of_processes_gives_the_same() -> None:
    here = perform_all(tasks(), processes=1)
    assert [run.label for run in here] == ["iptables"] * 3 + ["nftables"] * 3
    assert [run.seed for run in here] == [1, 2, 3, 1, 2, 3]
    assert len({run.fingerprint for run in here}) == 6
    assert perform_all(tasks(), processes=2) == here
    assert perform_all(tasks(), open_executor=lambda: ThreadPoolExecutor(1)) == here


def _perform_once_dying(task: Task) -> Measured:
    marker = Path(os.environ["SVCSIM_TEST_MARKER"])
    if task.number == 2 and not marker.exists():
        marker.touch()
        os._exit(1)
    return perform(task)


def _perform_badly(task: Task) -> Measured:
    raise UsageError(f"task {task.number} is a mistake")


def test_a_mistake_ends_all_workers_without_a_word_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    monkeypatch.setattr(module, "perform", _perform_badly)
    for _ in range(5):
        with pytest.raises(UsageError, match="is a mistake"):
            perform_all(tasks() * 4, processes=2)
    assert said == []


def test_a_worker_that_dies_costs_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = perform_all(tasks(), processes=1)
    monkeypatch.setenv("SVCSIM_TEST_MARKER", str(tmp_path / "died"))
    monkeypatch.setattr(module, "perform", _perform_once_dying)
    ended: list[int] = []
    found = perform_all(tasks(), processes=2, on_end=lambda task, _: ended.append(task.number))
    assert (tmp_path / "died").exists()
    assert found == here
    assert sorted(ended) == [0, 1, 2, 3, 4, 5]


def _die(task: Task) -> Measured:
    os._exit(1)


def test_workers_that_always_die_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "perform", _die)
    with pytest.raises(SimulationError, match="were lost"):
        perform_all(tasks(), open_executor=lambda: ProcessPoolExecutor(1))
