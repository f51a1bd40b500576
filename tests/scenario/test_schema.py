"""The JSON Schema shows each default as a file would have it."""

import jsonschema
import pytest

from svcsim.scenario import json_schema
from tests.scenario.samples import sample

SCHEMA = json_schema()


def properties() -> list[tuple[str, str, dict]]:
    """Each property of each part, with the part's name and its own."""
    found = []
    for name, part in [("Scenario", SCHEMA), *SCHEMA["$defs"].items()]:
        for form in (part, *part.get("anyOf", ())):
            found += [(name, key, schema) for key, schema in form.get("properties", {}).items()]
    return found


WITH_DEFAULT = [
    pytest.param(schema, id=f"{part}.{key}") for part, key, schema in properties() if schema.get("default") is not None
]


@pytest.mark.parametrize("schema", WITH_DEFAULT)
def test_a_default_is_a_value_that_a_file_may_have(schema: dict) -> None:
    described = {**{key: value for key, value in schema.items() if key != "default"}, "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(described).validate(schema["default"])


def test_durations_carry_their_unit_in_defaults_too() -> None:
    run = SCHEMA["$defs"]["Run"]["properties"]
    assert run["duration"]["default"] == "1m"
    assert SCHEMA["$defs"]["Network"]["properties"]["queue"]["default"] == "1MiB"


@pytest.mark.parametrize(
    "shorthand",
    [
        {"connections": "multiplexed"}, {"connections": {"multiplexed": True}},
        {"connections": {"multiplexed": {"keepalive": "10s"}}}, {"balancing": "least_request"}, {"resolver": "musl"},
        {"hedging": "30ms"}, {"retries": {"attempts": 3, "budget": "20%"}}, {"retries": {"attempts": 3, "budget": 0.2}},
    ],
    ids=str,
)
def test_an_editor_takes_the_short_ways_to_write_a_workload(shorthand: dict) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate({"workloads": [shorthand]})
    sample(workloads=[shorthand])
