"""The JSON Schema of the scenario file, for completion and checks in editors (draft 2020-12)."""

from __future__ import annotations

from typing import Any

from svcsim.scenario.distribution import SizeDistribution, TimeDistribution
from svcsim.scenario.model import Scenario

SCHEMA = "https://json-schema.org/draft/2020-12/schema"

# Models that a single value may stand for, and what it may be.
_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 1}
_SHORTHANDS: dict[str, tuple[dict[str, Any], ...]] = {
    "TimeDistribution": (_TEXT,),
    "SizeDistribution": (_TEXT, {"type": "integer", "minimum": 0}),
    "Arrivals": (_TEXT,),
    "ClosedLoop": (_NUMBER,),
    "Ramp": ({"type": "array", "items": {"$ref": "#/$defs/RampPoint"}},),
    "Connections": ({"enum": ["keepalive", "new"]},),
    "Backoff": (_TEXT,),
    "Retries": (_NUMBER,),
    "From": (_TEXT,),
    "Proxy": (_TEXT,),
    "Nodes": (_NUMBER, {"type": "array", "items": {"$ref": "#/$defs/NodePool"}}),
    "Rtt": (_TEXT,),
    "Calibration": (_TEXT,),
    "Expect": (_TEXT,),
}


def json_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    definitions = schema["$defs"]
    for name, shorthands in _SHORTHANDS.items():
        if name in definitions:
            full = definitions[name]
            described = {"description": full.pop("description")} if "description" in full else {}
            definitions[name] = {**described, "anyOf": [*shorthands, full]}
    if "Empirical" in definitions:
        for distribution in (TimeDistribution, SizeDistribution):
            forms = definitions[distribution.__name__]["anyOf"][-1]["properties"]
            if "empirical" in forms:
                forms["empirical"]["anyOf"].append(_TEXT)
    properties = schema["properties"]
    manifest = {"anyOf": [_TEXT, {"type": "object"}]}
    properties["manifests"] = {**properties["manifests"], "items": manifest}
    services = properties["services"]
    properties["services"] = {
        "description": services.get("description", ""),
        "anyOf": [services["items"], {"type": "array", "items": services["items"]}],
    }
    version = definitions["Kubernetes"]["properties"]["version"]
    version["anyOf"] = [*version.get("anyOf", []), {"type": "number"}]
    return {"$schema": SCHEMA, "title": "svcsim scenario", **{key: value for key, value in schema.items() if key != "title"}}
