"""svcsim: a discrete-event simulator of the Kubernetes Service layer.

    >>> import svcsim
    >>> scenario = svcsim.load("scenarios/failover.yaml")          # doctest: +SKIP
    >>> results = svcsim.run(scenario)                             # doctest: +SKIP
    >>> results["iptables"].latency.p99                            # doctest: +SKIP
    >>> svcsim.plot.timeline(results)                              # doctest: +SKIP

`load` reads and checks a scenario; `run` simulates all of its variants; `compare` says which variant is better, over paired
replications; `run_sweep` runs a scenario at many points; `plot` lists the figures. They are what the command line calls. In a
notebook results show as tables and figures as pictures, and what runs shows how far it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcsim.version import __version__

if TYPE_CHECKING:
    from svcsim.analysis.verdicts import Contrasts
    from svcsim.report import plot
    from svcsim.results.comparison import Comparison
    from svcsim.results.result import Result
    from svcsim.scenario.model import Scenario
    from svcsim.sweep.sweeping import Sweep

__all__ = ["__version__", "compare", "load", "loads", "plot", "run", "run_one", "run_sweep"]


def __getattr__(name: str) -> Any:
    if name == "plot":
        # Loaded when a figure is wanted: matplotlib is most of what importing everything costs.
        return importlib.import_module("svcsim.report.plot")
    raise AttributeError(f"module 'svcsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario of a file, with values changed by path, as in `{"run.seed": 2}`; `InputError` names every mistake in it."""
    from svcsim.scenario.loader import load as load_file

    return load_file(path, overrides)


def loads(text: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario of a text; files that it names are looked for in the current folder."""
    from svcsim.scenario.loader import loads as load_text

    return load_text(text, overrides=overrides)


def run(
    scenario: Scenario | str | Path, *, processes: int | None = 1, only: Sequence[str] = (), progress: bool | None = None
) -> Comparison:
    """Simulate every variant and replication of a scenario; `only` limits them to variants of these labels.

    `processes` None takes one a CPU. The results are the same for any number. `progress` None shows how far it is in a notebook
    alone, True also elsewhere, on standard error.
    """
    from svcsim.report.notebook import in_notebook, progress_of
    from svcsim.sweep.runs import jobs_of, run_all

    loaded = load(scenario) if isinstance(scenario, str | Path) else scenario
    # Who shows nothing need not know how many runs there are: expanding a large scenario once more takes its time.
    runs = len(jobs_of(loaded, only)) if progress or in_notebook() else 1
    with progress_of(runs, loaded.run.duration_ns, progress) as shown:
        return run_all(
            loaded, processes=processes, only=only,
            on_progress=(lambda job, requests, now_ns: shown.update(job.name, requests, now_ns)) if shown.wanted else None,
            on_end=lambda job, result: shown.finish(job.name, len(result.requests)),
        )


def run_one(scenario: Scenario | str | Path, *, seed: int | None = None) -> Result:
    """Simulate a scenario that compares nothing, once; `UsageError` for one that compares."""
    from svcsim.errors import UsageError
    from svcsim.sweep.runs import jobs_of, run_job

    loaded = load(scenario) if isinstance(scenario, str | Path) else scenario
    if loaded.compare:
        raise UsageError(f"scenario {loaded.name} compares {', '.join(loaded.compare)}: use svcsim.run, or leave `compare` out")
    job, variant = jobs_of(loaded)[0]
    if seed is not None:
        job = type(job)(job.number, job.label, job.replication, seed)
    return run_job(job, variant)


def compare(
    scenario: Scenario | str | Path, over: Mapping[str, Iterable[Any]] | None = None, *, metrics: Sequence[str] = (),
    base: str | None = None, replications: int = 20, level: float = 0.95, overrides: Mapping[str, Any] | None = None,
    processes: int | None = 1, progress: bool | None = None,
) -> Contrasts:
    """Run variants in pairs and say of each figure which is better, worse, or not shown to differ.

        modes = {"kubernetes.proxy": ["iptables", "ipvs/rr", "nftables"]}
        svcsim.compare("scenario.yaml", over=modes, metrics=["p99"])

    `over` stands in place of the scenario's own `compare`. A variant's i-th replication has the same arrivals and service times
    as every other's i-th, so that what is common cancels. `base` is the variant that the others are compared with, the first
    unless given; `metrics` are figures in the words of `expect`, as `web: p99 during 5s..30s`. `InputError` or `UsageError` for
    what is no scenario, figure or variant, and for fewer than two replications. `processes` and `progress` are those of `run`.
    """
    from svcsim.analysis.verdicts import contrast
    from svcsim.errors import UsageError
    from svcsim.report.notebook import progress_of
    from svcsim.scenario.changed import changed
    from svcsim.scenario.modes import compared
    from svcsim.sweep.contrasting import tasks_to_contrast
    from svcsim.sweep.tasks import perform_all

    if replications < 2:
        raise UsageError(f"one replication has no interval: ask for at least two (got {replications})")
    wanted = {**(overrides or {}), "run.replications": replications, **({"compare": compared(over, "over")} if over else {})}
    loaded = changed(scenario, wanted)
    if not loaded.compare:
        raise UsageError(f"{loaded.name} compares nothing: say what, as in over={{'kubernetes.proxy': ['iptables', 'ipvs/rr']}}")
    figures, tasks = tasks_to_contrast(loaded, metrics, base)
    with progress_of(len(tasks), loaded.run.duration_ns, progress) as shown:
        runs = perform_all(tasks, processes=processes, on_end=lambda task, one: shown.finish(task.job.name, one.requests))
    return contrast(runs, figures, base, level)


def run_sweep(
    scenario: Scenario | str | Path, over: Mapping[str, Iterable[Any]], *, metrics: Sequence[str] = (),
    replications: int | None = None, folder: str | Path | None = None, overrides: Mapping[str, Any] | None = None,
    processes: int | None = 1, progress: bool | None = None,
) -> Sweep:
    """Run a scenario at every combination of values and keep a row of figures a run.

        sizes = {"services.count": [10, 1000], "kubernetes.proxy": ["iptables", "nftables"]}
        svcsim.run_sweep("scenario.yaml", over=sizes)

    With a `folder` each run is kept there as it ends, so the same call after an interruption runs only what is missing. What else
    a scenario compares stays. `InputError` or `UsageError` names the point that the scenario can't take. `metrics`, `processes`
    and `progress` are those of `compare`.
    """
    from svcsim.errors import UsageError
    from svcsim.report.notebook import progress_of
    from svcsim.scenario.modes import values_at
    from svcsim.sweep.grid import Axis, grid
    from svcsim.sweep.sweeping import plan
    from svcsim.sweep.sweeping import run_sweep as sweep

    axes = [Axis(path, tuple(values_at(path, values, "over"))) for path, values in over.items()]
    if not axes or not all(axis.values for axis in axes):
        raise UsageError("say what to sweep, as in over={'cluster.nodes.count': [3, 6, 9]}")
    changes = {**(overrides or {}), **({"run.replications": replications} if replications is not None else {})}
    planned = plan(scenario, grid(axes), overrides=changes, metrics=metrics)
    with progress_of(len(planned.tasks), planned.duration_ns, progress) as shown:
        return sweep(
            planned, None if folder is None else Path(folder), processes=processes,
            on_end=lambda task, one: shown.finish(task.job.name, one.requests),
        )
