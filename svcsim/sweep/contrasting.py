"""What a comparison of variants runs: each variant as often as it is replicated, for figures that every run can have."""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.errors import UsageError
from svcsim.results.measured import Figure
from svcsim.scenario.figures import check_comes, figures_of
from svcsim.scenario.model import Scenario
from svcsim.spelling import nearest
from svcsim.sweep.runs import jobs_of
from svcsim.sweep.tasks import Task


def tasks_to_contrast(scenario: Scenario, metrics: Sequence[str], base: str | None) -> tuple[tuple[Figure, ...], list[Task]]:
    """The figures in the words of `expect`, all by default, and a task for each run of each variant.

    `UsageError` for what is no figure or can never come, and for a `base` that is no variant.
    """
    figures = figures_of(scenario, metrics)
    tasks = [Task(job.number, job, variant, figures) for job, variant in jobs_of(scenario)]
    check_comes((figure, task.scenario) for task in tasks for figure in figures)
    labels = list(dict.fromkeys(task.job.label for task in tasks))
    if base is not None and base not in labels:
        raise UsageError(f"there is no variant {base!r} to compare with{nearest(base, labels)}")
    return figures, tasks
