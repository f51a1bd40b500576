"""A scenario checked: its runs, what it expects of them, and how they stand against a stored baseline."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from svcsim.analysis.regression import DEFAULT_LEVEL, GoldenMiss, Moved, compare, golden
from svcsim.results.baseline import Baseline, baseline_of
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Verdict, evaluate
from svcsim.results.folder import slug
from svcsim.results.measured import Figure, Measured
from svcsim.scenario.figures import figure_of, figures_of
from svcsim.scenario.model import Scenario
from svcsim.scenario.resolved import resolved_data
from svcsim.sweep.runs import jobs_of
from svcsim.sweep.tasks import Task, perform_all

TOLERANCE_REPLICATIONS = 10
"""Runs a variant unless the scenario, the call or the baseline says otherwise; golden checks take one."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a scenario."""

    file: str
    scenario: Scenario
    now: Baseline
    verdicts: tuple[Verdict, ...]
    before: Baseline | None = None
    moved: tuple[Moved, ...] = ()
    misses: tuple[GoldenMiss, ...] = ()
    golden: bool = False
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The expectations that don't hold."""
        return tuple(verdict for verdict in self.verdicts if not verdict.holds)

    @property
    def regressions(self) -> tuple[Moved, ...]:
        """The figures for which the check fails; a golden check fails for its fingerprints alone."""
        return () if self.golden else tuple(row for row in self.moved if row.finding.fails)

    @property
    def passes(self) -> bool:
        """Whether everything is as expected and as it was."""
        return not (self.broken or self.misses or self.regressions)


def baseline_path(folder: Path, scenario: Scenario) -> Path:
    """Where a scenario's baseline stands."""
    return folder / f"{slug(scenario.name)}.json"


def figures_for(scenario: Scenario, metrics: tuple[str, ...], before: Baseline | None) -> tuple[Figure, ...]:
    """The figures that are checked: those asked for, those of the baseline, or those that are usually compared."""
    if not metrics and before is not None:
        return tuple(figure_of(scenario, text) for text in before.figures)
    return figures_of(scenario, metrics)


def tasks_of(scenario: Scenario, figures: tuple[Figure, ...], seeds: int | tuple[int, ...]) -> list[Task]:
    """The runs: `seeds` are those of a baseline, or how many from `run.seed` on. The first replications come back whole.

    Whole are as many as the scenario itself asks for: its expectations are on their requests.
    """
    chosen = seeds if isinstance(seeds, tuple) else tuple(scenario.run.seed + place for place in range(seeds))
    whole = min(scenario.run.replications, len(chosen))
    tasks: list[Task] = []
    for job, variant in jobs_of(scenario):
        if job.replication == 0:
            for place, seed in enumerate(chosen):
                one = type(job)(len(tasks), job.label, place, seed)
                tasks.append(Task(len(tasks), one, variant, figures, whole=place < whole))
    return tasks


def run_checked(
    file: str, scenario: Scenario, figures: tuple[Figure, ...], seeds: int | tuple[int, ...], *, processes: int | None = None,
    on_end: Callable[[Task, Measured], None] | None = None,
) -> tuple[Checked, tuple[Figure, ...]]:
    """Run a scenario and evaluate what it expects; without a baseline yet. Also the figures that every run has a sample of."""
    runs = perform_all(tasks_of(scenario, figures, seeds), processes=processes, on_end=on_end)
    comparison = Comparison([run.result for run in runs if run.result is not None])
    expected = scenario.expectations()
    verdicts = evaluate(expected, comparison) if expected else ()
    sampled = [place for place in range(len(figures)) if not any(math.isnan(run.values[place]) for run in runs)]
    notes = tuple(dict.fromkeys(f"left out: {problem}" for run in runs for problem in run.problems))
    kept = [replace(run, values=tuple(run.values[place] for place in sampled), problems=(), result=None) for run in runs]
    told = tuple(figures[place] for place in sampled)
    now = baseline_of(comparison.results[0].provenance, digest_of(scenario), told, kept)
    return Checked(file, scenario, now, tuple(verdicts), notes=notes), told


def digest_of(scenario: Scenario) -> str:
    """A digest of what is simulated: the resolved scenario without its expectations and the number of replications."""
    data = resolved_data(scenario)
    data.pop("expect", None)
    if isinstance(run := data.get("run"), dict):
        data["run"] = {key: value for key, value in run.items() if key not in {"replications", "seed"}}
    return hashlib.blake2b(json.dumps(data, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def judged(
    checked: Checked, before: Baseline, figures: tuple[Figure, ...], *, exact: bool,
    tolerances: Mapping[str, float] | None = None, level: float = DEFAULT_LEVEL,
) -> Checked:
    """The same against a baseline. A golden check of other versions is one by tolerance, and says so."""
    differences = before.differences(checked.now)
    notes = [*checked.notes, *(f"baseline: {text}" for text in differences)]
    other_versions = any(text.startswith(("svcsim", "Python", "NumPy")) for text in differences)
    if exact and other_versions:
        notes.append("baseline: made with other versions, whose bytes may differ, so it is compared by tolerance")
    by_bytes = exact and not other_versions
    return replace(
        checked, before=before, moved=compare(before, checked.now, figures, tolerances, level),
        misses=golden(before, checked.now) if by_bytes else (), golden=by_bytes, notes=tuple(notes),
    )
