"""`svcsim report RUN`: write the report of a folder of results as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, allow_dash=True), help="The file; default: RUN/report.html; - is stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
def report(run: Path, out: Path | None, force: bool) -> None:
    """Write the results in the folder RUN as one HTML page that needs no network.

    \b
    svcsim report runs/failover-1
    svcsim report runs/failover-1 --out failover.html
    """
    from svcsim.cli.writing import check_place, write_text
    from svcsim.errors import UsageError
    from svcsim.report.html.writing import report_of_folder

    target = out or run / "report.html"
    text = report_of_folder(run)
    check_place(target)
    if str(target) != "-" and target.exists() and not force:
        raise UsageError(f"{target} exists already: replace it with --force, or give another file with --out")
    write_text(target, text)
    if str(target) != "-":
        click.echo(target)
