"""`svcsim validate FILE…`: check scenario files without running them, fit for pre-commit and CI."""

from __future__ import annotations

import click


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value first; may be repeated.")
@click.option("--quiet", "-q", is_flag=True, help="Print mistakes only.")
@click.option("--strict", is_flag=True, help="Count notes (such as a fault after the end of the run) as mistakes.")
def validate(files: tuple[str, ...], settings: tuple[str, ...], quiet: bool, strict: bool) -> None:
    """Check each FILE (- for standard input) and print every mistake as file:line:column: path: what is wrong.

    Exit code 0 if all are in order, 2 otherwise.

    \b
    svcsim validate scenarios/*.yaml
    """
    from svcsim.cli.overrides import overrides_of
    from svcsim.errors import InputError, Problem, UsageError
    from svcsim.scenario.expansion import variants
    from svcsim.scenario.loader import load

    overrides = overrides_of(settings)
    problems: list[Problem] = []
    unread: list[str] = []
    remarks = False
    for file in files:
        try:
            scenario = load(file, overrides)
        except InputError as error:
            problems += error.problems
            continue
        except UsageError as error:
            unread.append(str(error))
            continue
        remarks = remarks or bool(scenario.notes)
        if not quiet:
            count = len(variants(scenario))
            click.echo(f"{file}: in order" + (f", {count} variants" if count > 1 else ""))
            for note in scenario.notes:
                click.echo(f"  note: {note}")
    for line in [*unread, *map(str, problems)]:
        click.echo(line, err=True)
    if problems or unread or (strict and remarks):
        raise click.exceptions.Exit(2)
