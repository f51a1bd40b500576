"""`svcsim examples`: the scenarios that come with svcsim, listed or copied."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

_WIDTH = 100


@click.command("examples")
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), default=Path("scenarios"), show_default=True, help="Folder to copy into.")
@click.option("--all", "everything", is_flag=True, help="Copy all of them.")
def examples(names: tuple[str, ...], out: Path, everything: bool) -> None:
    """List the scenarios that come with svcsim, or copy those NAMES, with the manifests that they read.

    \b
    svcsim examples
    svcsim examples failover types/nodeport-local && svcsim run scenarios/failover.yaml
    """
    from svcsim.scenario.examples import copy, example
    from svcsim.scenario.examples import examples as shipped

    chosen = list(shipped()) if everything else [example(name) for name in names]
    if chosen:
        for path in dict.fromkeys(path for one in chosen for path in copy(one, out)):
            click.echo(path)
        return
    listed = list(shipped())
    width = max(len(one.name) for one in listed) + 2
    for one in listed:
        lines = textwrap.wrap(one.question, _WIDTH - width) or [""]
        click.echo(f"{one.name:<{width}}{lines[0]}")
        for line in lines[1:]:
            click.echo(" " * width + line)
