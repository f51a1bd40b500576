"""`svcsim schema`: the JSON Schema of the scenario file, for editors."""

from __future__ import annotations

import click


@click.command("schema")
def schema() -> None:
    """Print the JSON Schema of the scenario file.

    \b
    svcsim schema > scenario.schema.json
    Then begin a scenario with the line
    # yaml-language-server: $schema=scenario.schema.json
    """
    import json

    from svcsim.scenario.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
