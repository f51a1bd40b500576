"""`svcsim plot RUN`: draw the figures of a folder of results."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("plot")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the figures; RUN/figures by default.")
@click.option("--force", is_flag=True, help="Replace figures that are there already.")
def plot(run: Path, out: Path | None, force: bool) -> None:
    """Draw the figures of the results in the folder RUN, each as SVG and PNG.

    \b
    svcsim plot runs/failover-1
    svcsim plot runs/failover-1 --out slides/figures
    """
    from svcsim.errors import UsageError
    from svcsim.results.folder import load
    from svcsim.results.whole import write_whole

    target = out or run / "figures"
    comparison = load(run)
    if target.exists() or target.is_symlink():
        if not force:
            raise UsageError(f"{target} exists already: replace it with --force, or give another folder with --out")
        if not target.is_dir() or any(path.suffix not in {".svg", ".png"} for path in target.iterdir()):
            raise UsageError(f"{target} is not a folder of figures alone, so --force doesn't replace it")

    from svcsim.report.plot import Plot

    names: list[str] = []

    def draw(folder: Path) -> None:
        names.extend(path.name for path in Plot(comparison.results).save(folder))

    write_whole(target, draw, replace=force)
    for name in names:
        click.echo(target / name)
