"""The pages that the program itself writes: docs/help.md, the help of every command, and docs/schema.md, the scenario's parts.

`python -m tests.docs.reference` writes both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from svcsim.cli.main import COMMANDS, cli
from svcsim.kube.timings import timing_sources
from svcsim.scenario import json_schema
from svcsim.scenario.quantities import spelling
from tests.docs.pages import DOCS

_COLUMNS = 94
"""So wide is a block of code on a page."""
_LONGEST_DEFAULT = 40
_FEW = 4

HELP_HEAD = """# Help of every command

As `svcsim COMMAND --help` prints it. [Commands](commands.md) explains each with what it prints.
"""
SCHEMA_HEAD = """# The schema of the scenario file

Every part with its keys, as the JSON Schema has them that `svcsim schema` prints. An editor that knows JSON Schema completes and
checks a scenario with it: save it beside your scenarios (`svcsim schema > scenario.schema.json`) and begin each with
`# yaml-language-server: $schema=scenario.schema.json`. [The scenario file](scenario.md) explains the keys with examples.
"""


def help_page() -> str:
    """Each command in a section of its own."""
    names = cli.context_settings["help_option_names"]
    top = click.Context(cli, info_name="svcsim", terminal_width=_COLUMNS, help_option_names=names)
    return "\n".join([HELP_HEAD, *(f"## svcsim {name}\n\n```text\n{_help(name, top)}\n```\n" for name in COMMANDS)])


def _help(name: str, top: click.Context) -> str:
    command = cli.get_command(top, name)
    assert command is not None
    return command.get_help(click.Context(command, parent=top, info_name=name))


def schema_page() -> str:
    """Each part in a section of its own, in the order in which the file first has it."""
    schema = json_schema()
    sections = [_section("Scenario", {"description": "The file.", **schema})]
    parts = {**schema["$defs"], "TimingOverrides": _with_timings(schema["$defs"]["TimingOverrides"])}
    sections += [_section(name, parts[name]) for name in _in_order(schema)]
    return "\n".join([SCHEMA_HEAD, *sections])


def _in_order(schema: dict[str, Any]) -> list[str]:
    """The names of the parts, each before those that only it has."""
    found: dict[str, None] = {}

    def visit(place: dict[str, Any]) -> None:
        for name in _references(place):
            if name not in found:
                found[name] = None
                visit(schema["$defs"][name])

    visit({key: value for key, value in schema.items() if key != "$defs"})
    return list(found)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _with_timings(part: dict[str, Any]) -> dict[str, Any]:
    """The part of the timings with the defaults of the data file and where they come from."""
    properties = {key: dict(value) for key, value in part["properties"].items()}
    for source in timing_sources():
        assumed = " (assumed)" if source.basis == "assumed" else ""
        properties[spelling(source.name)].update(default=source.value, description=f"{source.source}{assumed}")
    return {**part, "properties": properties}


def _section(name: str, part: dict[str, Any]) -> str:
    forms = part.get("anyOf", [part])
    short = " or ".join(_kind(form) for form in forms if "properties" not in form)
    lines = [f"## {name}", "", part.get("description", forms[-1].get("description", ""))]
    if short:
        lines[-1] = f"{lines[-1]} {'Or short' if any('properties' in form for form in forms) else 'As'}: {short}.".strip()
    for form in forms:
        if "properties" in form:
            rows = [_row(key, value, key in form.get("required", ())) for key, value in form["properties"].items()]
            lines += ["", "| key | value | default | |", "|---|---|---|---|", *rows]
    return "\n".join([*lines, ""])


def _row(key: str, value: dict[str, Any], needed: bool) -> str:
    default = value.get("default")
    text = json.dumps(default, ensure_ascii=False).strip('"')
    told = "needed" if needed else f"`{text}`" if default not in (None, [], {}) and len(text) <= _LONGEST_DEFAULT else ""
    meaning = " ".join(value.get("description", "").split()).replace("|", "\\|")
    return f"| `{key}` | {_kind(value)} | {told} | {meaning} |"


def _kind(value: dict[str, Any]) -> str:
    """What may stand there, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            kinds = dict.fromkeys(_kind(form) for form in value[several] if form.get("type") != "null")
            return (" or " if len(kinds) <= _FEW else ", ").join(kinds)
    if "const" in value:
        return f"`{json.dumps(value['const']).strip(chr(34))}`"
    if "enum" in value:
        return (" or " if len(value["enum"]) <= _FEW else ", ").join(f"`{one}`" for one in value["enum"])
    return _plain(value)


def _plain(value: dict[str, Any]) -> str:
    kind = value.get("type")
    if isinstance(kind, list):
        return " or ".join(dict.fromkeys(_plain({**value, "type": one}) for one in kind if one != "null"))
    if kind == "array":
        return f"list of {_kind(value['items'])}" if value.get("items") else "list"
    if kind == "object":
        further = value.get("additionalProperties")
        return f"mapping to {_kind(further)}" if isinstance(further, dict) and further else "mapping"
    if kind in {"integer", "number"}:
        low, above, high = value.get("minimum"), value.get("exclusiveMinimum"), value.get("maximum")
        limits = [f"from {low:g}"] if low is not None else [f"above {above:g}"] if above is not None else []
        return " ".join([kind, *limits, *([f"to {high:g}"] if high is not None else [])])
    if kind == "boolean":
        return "`true` or `false`"
    if kind == "string":
        return f"text as `{value['examples'][0]}`" if value.get("examples") else "text"
    return "anything"


PAGES = {"help.md": help_page, "schema.md": schema_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
