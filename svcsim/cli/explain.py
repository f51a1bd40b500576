"""`svcsim explain RUN`: why the slowest requests were slow or failed, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from svcsim.report.causes import Explanation


@click.command("explain")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--slowest", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="So many requests.")
@click.option("--mode", help="Only requests of this mode; of all by default.")
@click.option("--workload", help="Only requests of this workload.")
@click.option("--outcome", type=click.Choice(["any", "ok", "failed"]), default="any", help="Only answered or failed ones.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def explain(run: Path, count: int, mode: str | None, workload: str | None, outcome: str, as_json: bool) -> None:
    """Say why the slowest requests of the results in the folder RUN were slow or failed.

    \b
    svcsim explain runs/failover-1 --slowest 5
    svcsim explain runs/failover-1 --mode iptables --outcome ok
    """
    from svcsim.report.causes import slowest
    from svcsim.results.folder import load

    failed = None if outcome == "any" else outcome == "failed"
    found = slowest(load(run), count, mode=mode, workload=workload, failed=failed)
    if as_json:
        from svcsim.results.summary import dumps

        click.echo(dumps({"requests": [each.document() for each in found]}).rstrip("\n"))
        return
    click.echo(_text(found) if found else "there is no such request")


def _text(found: list[Explanation]) -> str:
    """A paragraph a request; what is the same as before is said once."""
    import textwrap

    said: dict[tuple[str, ...], int] = {}
    lines: list[str] = []
    for place, each in enumerate(found, start=1):
        indent = " " * (len(str(len(found))) + 2)
        headline = f"{place}.".ljust(len(indent)) + each.headline
        lines += textwrap.wrap(headline, 100, subsequent_indent=indent, break_on_hyphens=False)
        lines += textwrap.wrap(each.time_words, 100, initial_indent=indent, subsequent_indent=indent)
        if each.reasons in said:
            lines.append(f"{indent}For the same reasons as {said[each.reasons]}.")
        else:
            said[each.reasons] = place
            for reason in each.reasons:
                hanging = f"{indent}  "
                lines += textwrap.wrap(f"{indent}- {reason}", 100, subsequent_indent=hanging, break_on_hyphens=False)
        lines.append("")
    return "\n".join(lines).rstrip()
