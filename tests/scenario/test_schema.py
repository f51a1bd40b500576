"""The JSON Schema shows each default as a file would have it."""

import jsonschema
import pytest

from svcsim.scenario import json_schema
from svcsim.scenario.quantities import Part
from svcsim.scenario.schema import _SHORTHANDS, _parts
from svcsim.yamlsource import parse
from tests.scenario.samples import plain, sample

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
        {"retries": {"attempts": 3, "on": ["timeout", "dns", "no_route"]}}, {"arrivals": {"trace": [0.5, 1]}},
    ],
    ids=str,
)
def test_an_editor_takes_the_short_ways_to_write_a_workload(shorthand: dict) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate({"workloads": [shorthand]})
    sample(workloads=[shorthand])


@pytest.mark.parametrize(
    "text",
    [
        "cluster: {cloud: none}", "cluster: {network: {routes: [{to: 198.51.100.1, via: worker-1}]}}",
        "servers: [{match: {app: web}, ingress: nginx}]", "kubernetes: {version: 1.3, dns: {version: 1.6}}",
        "faults: [{at: 1s, condition: deployment/web, type: example.com/ready, status: False}]",
    ],
)
def test_an_editor_takes_the_short_ways_of_other_parts(text: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(plain(parse(text, "x.yaml")[0].root))
    sample(text)


def test_each_part_with_a_short_way_to_write_it_says_so() -> None:
    short = {part.__name__ for part in _parts(Part) if "_shorthand" in part.__pydantic_decorators__.model_validators}
    assert {"Backoff", "Cloud", "Proxy"} <= short <= set(_SHORTHANDS)
