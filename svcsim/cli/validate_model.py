"""`svcsim validate-model`: the model against published and measured figures, every row of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

FIGURES = (".png", ".svg", ".pdf")


@click.command("validate-model")
@click.option("--source", "sources", multiple=True, metavar="KEY", help="Only the rows of this source; may be repeated.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time; default: one a CPU.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table into this page, between its two marks.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the figures into this file (.png, .svg, .pdf).")
@click.option("--json", "json_path", type=click.Path(path_type=Path, allow_dash=True), help="Everything as JSON; - is stdout.")
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def validate_model(
    sources: tuple[str, ...], jobs: int | None, out: Path | None, figure: Path | None, json_path: Path | None, quiet: bool
) -> None:
    """Simulate what was measured elsewhere, and print both figures side by side: ratio, within tolerance or not, and why not.

    Costs come from the shipped profiles alone; a row whose source fed its profile is in-sample and does not count. A row outside
    its tolerance is a finding, not an error: the exit code is 0.

    \b
    svcsim validate-model
    svcsim validate-model --source cilium-2019 --json -
    svcsim validate-model --out docs/validation.md --figure docs/figures/validation.png
    """
    from dataclasses import replace

    from svcsim.cli.writing import check_place, write_text
    from svcsim.errors import UsageError
    from svcsim.grounding.targets import shipped_targets
    from svcsim.grounding.validating import document, validate
    from svcsim.report.grounding import grounding_table, markdown, set_into
    from svcsim.report.terminal import ink_for, printable
    from svcsim.results.summary import dumps
    from svcsim.spelling import nearest

    targets = shipped_targets()
    for key in sources:
        if key not in {target.source.key for target in targets.targets}:
            raise UsageError(f"there is no source {key!r}{nearest(key, targets.sources)}")
    if sources:
        targets = replace(
            targets,
            targets=tuple(target for target in targets.targets if target.source.key in sources),
            absent=tuple(absent for absent in targets.absent if absent.source.key in sources),
        )
    if out is not None and sources:
        raise UsageError("a page gets all rows: leave --source out, or --out")
    for place in (out, figure, json_path):
        if place is not None:
            check_place(place)
    if figure is not None and figure.suffix not in FIGURES:
        raise UsageError(f"a figure is written as {', '.join(FIGURES)} (got {figure.name})")
    page = _page(out) if out is not None else ""
    live = not quiet and sys.stderr.isatty()

    def tell(ended: int, of: int) -> None:
        if live:
            click.echo(f"\r{ended} of {of} set-ups{' ' * 4}" + ("\n" if ended == of else ""), nl=False, err=True)

    rows = validate(targets.targets, processes=jobs, on_end=tell)
    stream = sys.stderr if json_path is not None and str(json_path) == "-" else sys.stdout
    if not quiet:
        click.echo(printable(grounding_table(rows, targets, ink_for(stream)), stream), file=stream)
    if figure is not None:
        from svcsim.report.figures.grounding import grounding_figure
        from svcsim.report.style import save_as

        save_as(grounding_figure(rows), figure)
    if out is not None:
        picture = None if figure is None else Path(os.path.relpath(figure, out.parent)).as_posix()
        write_text(out, set_into(page, markdown(rows, targets, picture), str(out)))
    if json_path is not None:
        write_text(json_path, dumps(document(rows, targets)))


def _page(path: Path) -> str:
    """The page that is to be written into, asked for before the long run."""
    from svcsim.errors import UsageError
    from svcsim.report.grounding import set_into

    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read {path}: {getattr(error, 'strerror', None) or error}") from None
    set_into(page, "", str(path))
    return page
