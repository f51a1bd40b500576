"""`svcsim sweep SCENARIO`: a scenario at many points, kept as it goes, in one table with figures."""

from __future__ import annotations

import math
import sys
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import click

from svcsim.errors import UsageError


@click.command("sweep")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE,…",
    help="Values that a path takes, all combinations being run; with --lhs a range LOW..HIGH. May be repeated.",
)
@click.option("--points", type=click.Path(path_type=Path), help="A CSV file of points: a heading of paths, a point a line.")
@click.option("--lhs", type=click.IntRange(1, 100_000), metavar="N", help="N points of a Latin hypercube over ranges of --set.")
@click.option("--metric", "metrics", multiple=True, metavar="FIGURE", help="What to measure, as p99; may be repeated.")
@click.option("--replications", type=click.IntRange(1, 1000), help="Runs a point; instead of run.replications.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the first replication; instead of run.seed.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: sweeps/SCENARIO. One that has runs goes on.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time; default: one a CPU.")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, as tcp://host:8786.")
@click.option("--figures/--no-figures", default=True, help="Draw a figure of each metric (the default).")
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def sweep(
    scenario: Path, settings: tuple[str, ...], points: Path | None, lhs: int | None, metrics: tuple[str, ...],
    replications: int | None, seed: int | None, out: Path | None, jobs: int | None, dask: str | None, figures: bool, quiet: bool,
) -> None:
    """Run SCENARIO at every point and write one tidy table (CSV, Parquet) and a figure of each metric.

    What has ended is kept: the same call after an interruption runs only what is missing.

    \b
    svcsim sweep my.yaml --set services.count=10,1000,10000 --set kubernetes.proxy=iptables,nftables
    svcsim sweep my.yaml --lhs 50 --set 'workloads[0].arrivals=9/s..900/s' --set run.seed=1..9
    """
    from svcsim.cli.overrides import overrides_of
    from svcsim.report.progress import Progress
    from svcsim.report.sweeping import sweep_table
    from svcsim.report.terminal import ink_for, printable
    from svcsim.results.folder import slug
    from svcsim.sweep.sweeping import plan, run_sweep

    found = _points(settings, points, lhs, seed or 1)
    if dask is not None and jobs is not None:
        raise UsageError("--dask leaves the number of processes to its cluster; give either --dask or --jobs")
    planned = plan(scenario, found, overrides=overrides_of((), seed=seed, replications=replications), metrics=metrics)
    folder = out or Path("sweeps") / slug(planned.scenario)
    if folder.exists() and not (folder / "sweep.json").is_file():
        raise UsageError(f"{folder} is not a folder of a sweep: give another one with --out")
    if dask is not None:
        from svcsim.sweep.dask import dask_executor

        address = dask

        def open_executor() -> Executor:
            return dask_executor(address)
    with Progress(len(planned.tasks), planned.duration_ns, quiet=quiet) as progress:
        swept = run_sweep(
            planned, folder, processes=jobs, open_executor=None if dask is None else open_executor,
            on_end=lambda task, one: progress.finish(task.job.name, one.requests),
        )
    if not quiet:
        click.echo(printable(sweep_table(swept, ink_for(sys.stdout)), sys.stdout))
    for sentence in dict.fromkeys(problem for row in swept.rows for problem in row.found.problems):
        click.echo(f"note: {sentence}", err=True)
    if figures:
        from svcsim.report.figures.sweep import sweep_figures
        from svcsim.report.style import save

        (folder / "figures").mkdir(exist_ok=True)
        for name, figure in sweep_figures(swept):
            save(figure, folder / "figures" / slug(name))
    if not quiet:
        click.echo(f"results in {folder}")
    if all(math.isnan(value) for row in swept.rows for value in row.found.values):
        raise UsageError("no run has a sample of what was asked")


def _points(settings: tuple[str, ...], points: Path | None, lhs: int | None, seed: int) -> list[Any]:
    from svcsim.cli.overrides import axis_of
    from svcsim.sweep.grid import Axis, grid, latin_hypercube, listed, parse_range

    if points is not None:
        if settings or lhs is not None:
            raise UsageError("--points names every value itself: it goes with neither --set nor --lhs")
        try:
            return list(listed(points.read_text(encoding="utf-8"), str(points)))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"can't read {points}: {getattr(error, 'strerror', None) or error}") from None
    pairs = [axis_of(text) for text in settings]
    if not pairs:
        raise UsageError("say what to sweep, as in --set cluster.nodes.count=3,6,9")
    if lhs is None:
        return list(grid([Axis(path, tuple(values)) for path, _, values in pairs]))
    ranges = [parse_range(path, text) for path, text, values in pairs if ".." in text]
    fixed = [(path, values) for path, text, values in pairs if ".." not in text]
    if not ranges:
        raise UsageError("--lhs needs a range in --set, as in --set cluster.nodes.count=2..9")
    if several := next((path for path, values in fixed if len(values) > 1), None):
        raise UsageError(f"--lhs: {several} has a list of values; give a range LOW..HIGH or a single value")
    rest = tuple((path, values[0]) for path, values in fixed)
    return [(*point, *rest) for point in latin_hypercube(ranges, lhs, seed)]
