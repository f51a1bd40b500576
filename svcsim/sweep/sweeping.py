"""A sweep: every point, variant and replication run once, kept as it ends, and set in one tidy table.

    sweeps/scale/
      sweep.json        what is swept: points, figures, versions; a sweep of anything else does not go on in this folder
      done/<key>.json   one run's figures, written when it has ended
      results.csv       all of them, a run a line (and results.parquet where pyarrow is installed)

A run's key is a digest of its resolved scenario, seed, figures and of the versions that its bytes depend on, so a sweep that was
interrupted runs only what is missing, and one that is extended by a value only what is new.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
import io
import json
import math
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svcsim.errors import InputError, UsageError
from svcsim.results.measured import Figure, Measured
from svcsim.results.table import Rows, html_table
from svcsim.scenario.changed import changed
from svcsim.scenario.figures import check_comes, figures_of
from svcsim.scenario.model import Scenario
from svcsim.scenario.resolved import resolved_yaml
from svcsim.sweep.grid import Settings, shown
from svcsim.sweep.runs import jobs_of
from svcsim.sweep.tasks import Task, perform_all
from svcsim.version import __version__

SCHEMA = "svcsim/sweep/v1"
HEADINGS = ("point", "variant", "replication", "seed")


@dataclass(frozen=True, slots=True)
class Row:
    """One run of a sweep."""

    point: int
    settings: Settings
    found: Measured


@dataclass(frozen=True, slots=True, repr=False)
class Sweep:
    """The results of a sweep: rows in the order of points, variants and replications."""

    scenario: str
    paths: tuple[str, ...]
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the table."""
        return (*HEADINGS, *self.paths, *(figure.text for figure in self.figures), "fingerprint")

    def table(self) -> list[tuple[Any, ...]]:
        """The table, a run a row; figures in their metric's unit (ns, share, count, ratio)."""
        return [
            (row.point, row.found.label, row.found.replication, row.found.seed, *(value for _, value in row.settings),
             *row.found.values, row.found.fingerprint)
            for row in self.rows
        ]

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame; a setting that is no plain value, as a proxy mode, in words."""
        import pandas as pd

        rows = [[shown(value) if isinstance(value, dict | list) else value for value in row] for row in self.table()]
        return pd.DataFrame(rows, columns=list(self.columns))

    # The report stands above and imports this; by name, it is loaded when a table is wanted.
    def __repr__(self) -> str:
        return str(importlib.import_module("svcsim.report.sweeping").sweep_table(self))

    def _repr_html_(self) -> str:
        rows: Rows = importlib.import_module("svcsim.report.sweeping").sweep_rows(self)
        return html_table(rows)

    @property
    def plot(self) -> Any:
        """The figures of this sweep, such as `swept.plot.metric("latency.p99")`; see `svcsim.report.plot.SweepPlot`."""
        return importlib.import_module("svcsim.report.plot").SweepPlot(self)

    def csv_text(self) -> str:
        """The table as CSV."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([tuple(map(_cell, row)) for row in self.table()])
        return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else value
    return shown(value) if isinstance(value, dict | list) else value


@dataclass(frozen=True, slots=True)
class Plan:
    """All runs of a sweep, checked, none of them begun."""

    scenario: str
    paths: tuple[str, ...]
    figures: tuple[Figure, ...]
    tasks: tuple[Task, ...]
    points: tuple[tuple[int, Settings], ...]
    """One a task."""
    duration_ns: int
    """The longest run's."""


def plan(
    source: Scenario | str | Path, points: Sequence[Settings], *, overrides: dict[str, Any] | None = None,
    metrics: Sequence[str] = (),
) -> Plan:
    """The scenario, or that of a file, at every point; InputError or UsageError names the point that it is no scenario at."""
    if not points:
        raise UsageError("a sweep has at least one point")
    tasks: list[Task] = []
    owners: list[tuple[int, Settings]] = []
    figures: tuple[Figure, ...] = ()
    name, longest = "", 0
    given = {**(overrides or {}), **_not_compared(source, points[0], overrides or {})}
    for number, settings in enumerate(points):
        try:
            scenario = changed(source, {**given, **dict(settings)})
            figures = figures_of(scenario, metrics) if metrics or not figures else figures
        except (InputError, UsageError) as error:
            where = ", ".join(f"{key}={value}" for key, value in settings)
            raise type(error)(error.problems) if isinstance(error, InputError) else UsageError(f"at {where}: {error}") from None
        name, longest = scenario.name, max(longest, scenario.run.duration_ns)
        for job, variant in jobs_of(scenario):
            tasks.append(Task(len(tasks), job, variant, figures))
            owners.append((number, settings))
    check_comes((figure, task.scenario) for task in tasks for figure in task.figures)
    paths = tuple(key for key, _ in points[0])
    return Plan(name, paths, figures, tuple(tasks), tuple(owners), longest)


def _not_compared(source: Scenario | str | Path, settings: Settings, overrides: dict[str, Any]) -> dict[str, Any]:
    """What a sweep sets itself, a scenario does not compare beside it."""
    compared = changed(source, overrides).compare
    swept = {"kubernetes.proxy" if name.startswith("kubernetes.proxy") else name for name, _ in settings}
    kept = {
        name: values for name, values in compared.items()
        if ("kubernetes.proxy" if name.startswith("kubernetes.proxy") else name) not in swept
    }
    return {} if kept == compared else {"compare": kept}


def key_of(task: Task) -> str:
    """What a run's figures depend on, as a digest."""
    parts = (
        resolved_yaml(task.scenario), task.job.label, str(task.job.replication), str(task.job.seed),
        repr([(figure.text, figure.metric, figure.question) for figure in task.figures]),
        __version__, platform.python_version(), np.__version__,
    )
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def run_sweep(
    planned: Plan, folder: Path | None = None, *, processes: int | None = None,
    on_end: Callable[[Task, Measured], None] | None = None, open_executor: Callable[[], Executor] | None = None,
) -> Sweep:
    """Run what a folder does not hold yet, keep it there, and write the tables; without a folder nothing is kept."""
    kept = _Kept(folder) if folder is not None else None
    found: dict[int, Measured] = {}
    keys = {task.number: key_of(task) for task in planned.tasks} if kept else {}
    for task in planned.tasks:
        if kept is not None and (known := kept.get(keys[task.number])) is not None:
            found[task.number] = known
            if on_end is not None:
                on_end(task, known)
    missing = [task for task in planned.tasks if task.number not in found]

    def keep(task: Task, one: Measured) -> None:
        found[task.number] = one
        if kept is not None:
            kept.put(keys[task.number], one)
        if on_end is not None:
            on_end(task, one)

    perform_all(missing, processes=processes, on_end=keep, open_executor=open_executor)
    rows = tuple(
        Row(number, settings, found[task.number])
        for task, (number, settings) in zip(planned.tasks, planned.points, strict=True)
    )
    swept = Sweep(planned.scenario, planned.paths, planned.figures, rows)
    if folder is not None:
        write_tables(swept, folder)
    return swept


class _Kept:
    """The runs that a folder holds."""

    def __init__(self, folder: Path) -> None:
        self._done = folder / "done"
        try:
            self._done.mkdir(parents=True, exist_ok=True)
            mark = folder / "sweep.json"
            if not mark.exists():
                _write_whole(mark, json.dumps({"schema": SCHEMA}) + "\n")
        except OSError as error:
            raise UsageError(f"can't write {folder}: {error.strerror or error}") from None

    def get(self, key: str) -> Measured | None:
        path = self._done / f"{key}.json"
        if not path.is_file():
            return None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return Measured(
                told["variant"], told["replication"], told["seed"], told["requests"], told["fingerprint"],
                tuple(float(value) for value in told["values"]), tuple(told["problems"]),
            )
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path} is not as svcsim wrote it: remove it, and its run is done again") from None

    def put(self, key: str, found: Measured) -> None:
        told = {
            "variant": found.label, "replication": found.replication, "seed": found.seed, "requests": found.requests,
            "fingerprint": found.fingerprint, "values": [repr(value) for value in found.values], "problems": list(found.problems),
        }
        _write_whole(self._done / f"{key}.json", json.dumps(told, ensure_ascii=False) + "\n")


def write_tables(swept: Sweep, folder: Path) -> None:
    """`results.csv`, and `results.parquet` where pyarrow is installed."""
    _write_whole(folder / "results.csv", swept.csv_text())
    if importlib.util.find_spec("pyarrow") is not None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = swept.table()
        columns = {
            name: [row[place] if isinstance(row[place], int | float | str | type(None)) else _cell(row[place]) for row in table]
            for place, name in enumerate(swept.columns)
        }
        # A column of numbers and words is one of words.
        for name, values in columns.items():
            if len({isinstance(value, str) for value in values}) > 1:
                columns[name] = [str(value) for value in values]
        unfinished = folder / ".results.parquet.unfinished"
        pq.write_table(pa.table(columns), unfinished)
        os.replace(unfinished, folder / "results.parquet")


def _write_whole(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None
