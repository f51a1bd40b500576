"""`svcsim compare SCENARIO`: paired replications of variants, differences with intervals, a plain verdict on each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from svcsim.errors import UsageError

REPLICATIONS = 20
FIGURES = (".png", ".svg", ".pdf")


@click.command("compare")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--over", multiple=True, metavar="PATH=VALUE,…",
    help="What to compare, as kubernetes.proxy=iptables,ipvs/rr; in place of the scenario's `compare`; may be repeated.",
)
@click.option("--base", metavar="LABEL", help="The variant that the others are compared with; default: the first.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="FIGURE",
    help="A figure, as p99 or 'web: success during 5s..30s'; may be repeated.",
)
@click.option("--replications", type=click.IntRange(2, 1000), default=REPLICATIONS, show_default=True, help="Pairs of runs.")
@click.option("--level", type=click.FloatRange(0.5, 0.9999), default=0.95, show_default=True, help="Level of confidence.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the first replication; instead of run.seed.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time; default: one a CPU.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the differences into this file (.png, .svg, .pdf).")
@click.option("--json", "json_path", type=click.Path(path_type=Path, allow_dash=True), help="Everything as JSON; - is stdout.")
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def compare(
    scenario: Path, over: tuple[str, ...], base: str | None, metrics: tuple[str, ...], replications: int, level: float,
    settings: tuple[str, ...], seed: int | None, jobs: int | None, figure: Path | None, json_path: Path | None, quiet: bool,
) -> None:
    """Run the variants of SCENARIO with the same seeds and say which is better, worse, or not shown to differ.

    A variant's i-th replication has the same arrivals and service times as every other's i-th, so differences are taken pair by
    pair and what is common cancels.

    \b
    svcsim compare scenarios/failover.yaml --over kubernetes.proxy=iptables,ipvs/rr,ipvs/lc,nftables
    svcsim compare scenarios/slow-endpoint.yaml --base iptables --metric p99 --replications 10
    svcsim compare scenario.yaml --over 'cluster.nodes.count=3,6' --metric 'web: success'
    """
    from svcsim.analysis.verdicts import contrast, document
    from svcsim.cli.overrides import comparison_of, overrides_of
    from svcsim.cli.writing import check_place, write_text
    from svcsim.report.contrasts import contrasts_table
    from svcsim.report.progress import Progress
    from svcsim.report.scene import scene_of
    from svcsim.report.terminal import header, ink_for, printable
    from svcsim.results.summary import dumps
    from svcsim.scenario.loader import load
    from svcsim.sweep.contrasting import tasks_to_contrast
    from svcsim.sweep.tasks import perform_all

    overrides: dict[str, Any] = overrides_of(settings, seed=seed, replications=replications)
    loaded = load(scenario, {**overrides, **comparison_of(over)})
    if not loaded.compare:
        raise UsageError(f"{loaded.name} compares nothing: say what, as in --over kubernetes.proxy=iptables,ipvs/rr")
    for place in (figure, json_path):
        if place is not None:
            check_place(place)
    if figure is not None and figure.suffix not in FIGURES:
        raise UsageError(f"a figure is written as {', '.join(FIGURES)} (got {figure.name})")
    figures, tasks = tasks_to_contrast(loaded, metrics, base)
    stream = sys.stderr if json_path is not None and str(json_path) == "-" else sys.stdout
    ink = ink_for(stream)
    if not quiet:
        click.echo(printable(header(scene_of(loaded, (task.scenario for task in tasks)), ink) + "\n", stream), file=stream)
    with Progress(len(tasks), loaded.run.duration_ns, quiet=quiet) as progress:
        runs = perform_all(tasks, processes=jobs, on_end=lambda task, run: progress.finish(task.job.name, run.requests))
    found = contrast(runs, figures, base, level)
    problems = list(dict.fromkeys(problem for run in runs for problem in run.problems))
    told = found.with_samples()
    if told.rows and not quiet:
        click.echo(printable(contrasts_table(told, ink), stream), file=stream)
    if told.rows:
        for sentence in problems:
            click.echo(f"note: {sentence}", err=True)
    if figure is not None and told.rows:
        from svcsim.report.figures.contrasts import contrasts_figure
        from svcsim.report.style import save_as

        save_as(contrasts_figure(told), figure)
    if json_path is not None:
        write_text(json_path, dumps(document(found, runs, loaded.name)))
    if not told.rows:
        raise UsageError(f"no run has a sample of what was asked: {'; '.join(problems)}")
