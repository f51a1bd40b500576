"""`svcsim check SCENARIO…`: expectations and a stored baseline as a gate for CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcsim.errors import UsageError

if TYPE_CHECKING:
    from svcsim.results.baseline import Baseline
    from svcsim.scenario.model import Scenario
    from svcsim.sweep.checking import Checked


@click.command("check")
@click.argument("scenarios", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--baseline", type=click.Path(path_type=Path), metavar="DIR", help="Folder of baselines; without one, expectations alone."
)
@click.option("--golden", "exact", is_flag=True, help="Every run must be the baseline's to the byte; otherwise by tolerance.")
@click.option("--update", is_flag=True, help="Store what is found as the baseline, and say what moved.")
@click.option("--replications", type=click.IntRange(1, 1000), help="Runs a variant when a baseline is stored.")
@click.option("--metric", "metrics", multiple=True, metavar="FIGURE", help="A figure to check, as 'web: p99'; may be repeated.")
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="[METRIC=]SHARE",
    help="How far a figure may move; default: 2%. May be repeated.",
)
@click.option("--level", type=click.FloatRange(0.5, 0.9999), default=0.95, show_default=True, help="Level of confidence.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenarios; may be repeated.")
@click.option("--seed", type=click.IntRange(0), help="Seeds from here on, instead of the baseline's.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time; default: one a CPU.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--quiet", is_flag=True, help="No progress; only what fails is printed.")
def check(
    scenarios: tuple[Path, ...], baseline: Path | None, exact: bool, update: bool, replications: int | None,
    metrics: tuple[str, ...], tolerances: tuple[str, ...], level: float, settings: tuple[str, ...], seed: int | None,
    jobs: int | None, junit: Path | None, quiet: bool,
) -> None:
    """Run SCENARIOS, check what they expect, and compare them with their stored baselines.

    Exit code 0 if all is as expected and as it was, 1 for a broken expectation or a regression, 2 for a mistake in a scenario or
    the call, a missing baseline among them.

    \b
    svcsim check scenarios/*.yaml --baseline baselines --update --golden
    svcsim check scenarios/*.yaml --baseline baselines --golden
    svcsim check my.yaml --baseline baselines --tolerance 5% --tolerance latency.p999=15%
    """
    from svcsim.cli.writing import check_place, write_text
    from svcsim.report.gate import github_annotations, markdown, verdict_text
    from svcsim.report.gate import junit as junit_text
    from svcsim.report.terminal import ink_for, printable
    from svcsim.results.whole import check_writable

    if baseline is None and (exact or update or tolerances or metrics):
        raise UsageError("--golden, --update, --tolerance and --metric are about a baseline: give its folder with --baseline")
    if junit is not None:
        check_place(junit)
    if update and baseline is not None:
        if not os.path.lexists(baseline):
            check_writable(baseline)
        elif not baseline.is_dir():
            raise UsageError(f"can't write {baseline}: it is no folder")
    allowed = _tolerances(tolerances)
    loaded = _loaded(scenarios, settings, seed, replications)
    befores = _baselines(loaded, baseline, update)
    ink = ink_for(sys.stdout)
    found = []
    for place, (path, scenario) in enumerate(loaded):
        one = _checked(path, scenario, befores[place], exact, update, replications, metrics, allowed, level, seed, jobs, quiet)
        found.append(one)
        if not (quiet and one.passes):
            click.echo(printable(verdict_text(one, ink), sys.stdout))
        if update and baseline is not None:
            _store(baseline, one, quiet)
    if junit is not None:
        write_text(junit, junit_text(found))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(found):
            click.echo(line)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with open(summary, "a", encoding="utf-8") as file:
                file.write(markdown(found))
    failing = [one for one in found if one.broken or (not update and not one.passes)]
    if not quiet and len(found) > 1:
        click.echo(f"{len(found) - len(failing)} of {len(found)} scenarios pass")
    if failing:
        raise SystemExit(1)


def _tolerances(texts: Sequence[str]) -> dict[str, float]:
    from svcsim.results.metrics import metric_named
    from svcsim.scenario.expect import metric_name
    from svcsim.units import fraction

    found: dict[str, float] = {}
    for text in texts:
        name, equals, share = text.rpartition("=")
        try:
            value = fraction(share.strip())
        except ValueError as error:
            raise UsageError(f"--tolerance {text}: {error}") from None
        found[metric_named(metric_name(name.strip())).name if equals else "*"] = value
    return found


def _loaded(
    paths: Sequence[Path], settings: tuple[str, ...], seed: int | None, replications: int | None
) -> list[tuple[Path, Scenario]]:
    """Every scenario, so that a mistake in the last is told before the first is run."""
    from svcsim.cli.overrides import overrides_of
    from svcsim.errors import InputError, Problem
    from svcsim.scenario.loader import load

    loaded: list[tuple[Path, Scenario]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            loaded.append((path, load(path, overrides_of(settings, seed=seed, replications=replications))))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    names = [scenario.name for _, scenario in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two scenarios are called {twice}: their baselines would be one file")
    return loaded


def _baselines(
    loaded: Sequence[tuple[Path, Scenario]], folder: Path | None, update: bool
) -> list[Baseline | None]:
    from svcsim.results.baseline import read_baseline
    from svcsim.sweep.checking import baseline_path

    if folder is None:
        return [None] * len(loaded)
    found: list[Baseline | None] = []
    for _, scenario in loaded:
        path = baseline_path(folder, scenario)
        found.append(None if update and not path.exists() else read_baseline(path))
    return found


def _checked(
    path: Path, scenario: Scenario, before: Baseline | None, exact: bool, update: bool, replications: int | None,
    metrics: tuple[str, ...], tolerances: dict[str, float], level: float, seed: int | None, jobs: int | None, quiet: bool,
) -> Checked:
    from svcsim.report.progress import Progress
    from svcsim.sweep.checking import TOLERANCE_REPLICATIONS, figures_for, judged, run_checked
    from svcsim.sweep.runs import jobs_of

    figures = figures_for(scenario, metrics, None if update else before)
    seeds: int | tuple[int, ...] = replications or (scenario.run.replications if exact else max(
        scenario.run.replications, TOLERANCE_REPLICATIONS if update or before is not None else 1
    ))
    if before is not None and not update and replications is None:
        seeds = before.seeds if seed is None else len(before.seeds)
    variants = len({job.label for job, _ in jobs_of(scenario)})
    number = variants * (seeds if isinstance(seeds, int) else len(seeds))
    with Progress(number, scenario.run.duration_ns, quiet=quiet or not sys.stderr.isatty()) as progress:
        checked, sampled = run_checked(
            str(path), scenario, figures, seeds, processes=jobs,
            on_end=lambda task, run: progress.finish(task.job.name, run.requests),
        )
    if before is None:
        return checked
    return judged(checked, before, sampled if update else figures, exact=exact, tolerances=tolerances, level=level)


def _store(folder: Path, checked: Checked, quiet: bool) -> None:
    from svcsim.cli.writing import write_text
    from svcsim.results.baseline import dumps
    from svcsim.sweep.checking import baseline_path

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't write {folder}: {error.strerror or error}") from None
    path = baseline_path(folder, checked.scenario)
    write_text(path, dumps(checked.now))
    if not quiet:
        click.echo(f"      stored in {path}")
