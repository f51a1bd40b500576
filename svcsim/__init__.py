"""svcsim: a discrete-event simulator of the Kubernetes Service layer.

    >>> import svcsim
    >>> scenario = svcsim.load("scenarios/failover.yaml")          # doctest: +SKIP
    >>> comparison = svcsim.run(scenario)                          # doctest: +SKIP
    >>> comparison["iptables"].latency.p99                         # doctest: +SKIP

`load` reads and checks a scenario, `run` simulates all of its variants and replications. Both are what the command line calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcsim.version import __version__

if TYPE_CHECKING:
    from svcsim.results.comparison import Comparison
    from svcsim.results.result import Result
    from svcsim.scenario.model import Scenario

__all__ = ["__version__", "load", "loads", "run", "run_one"]


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario of a file, with values changed by path, as in `{"run.seed": 2}`; `InputError` names every mistake in it."""
    from svcsim.scenario.loader import load as load_file

    return load_file(path, overrides)


def loads(text: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario of a text; files that it names are looked for in the current folder."""
    from svcsim.scenario.loader import loads as load_text

    return load_text(text, overrides=overrides)


def run(scenario: Scenario | str | Path, *, processes: int | None = 1, only: Sequence[str] = ()) -> Comparison:
    """Simulate every variant and replication of a scenario; `only` limits them to variants of these labels.

    `processes` None takes one a CPU. The results are the same for any number.
    """
    from svcsim.sweep.runs import run_all

    loaded = load(scenario) if isinstance(scenario, str | Path) else scenario
    return run_all(loaded, processes=processes, only=only)


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
