"""The JSON Schema of the scenario file, for completion and checks in editors (draft 2020-12)."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from svcsim.scenario.distribution import SizeDistribution, TimeDistribution
from svcsim.scenario.model import Scenario
from svcsim.scenario.quantities import Part

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
    "Connections": ({"enum": ["keepalive", "new", "multiplexed"]},),
    "Multiplexed": ({"const": True},),
    "KeepalivePings": (_TEXT,),
    "ConnectionBackoff": ({"const": True},),
    "Balancing": ({"enum": ["pick_first", "round_robin", "random", "least_request"]},),
    "ClientResolver": ({"enum": ["glibc", "musl"]},),
    "Backoff": (_TEXT,),
    "Retries": (_NUMBER,),
    "RetryBudget": (_TEXT, {"type": "number", "minimum": 0, "maximum": 1}),
    "Hedging": (_TEXT,),
    "From": (_TEXT,),
    "Proxy": (_TEXT,),
    "Nodes": (_NUMBER, {"type": "array", "items": {"$ref": "#/$defs/NodePool"}}),
    "Rtt": (_TEXT,),
    "Cloud": ({"enum": ["external", "none"]},),
    "IngressController": (_TEXT,),
    "Trace": (_TEXT, {"type": "array", "items": {"type": "number", "minimum": 0}}),
    "Calibration": (_TEXT,),
    "Expect": (_TEXT,),
}


def json_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = Scenario.model_json_schema(by_alias=True, mode="validation")
    definitions = schema["$defs"]
    for model in _parts(Part):
        properties = (schema if model is Scenario else definitions.get(model.__name__, {})).get("properties", {})
        for name, text in _documented(model):
            if name in properties:
                properties[name].setdefault("description", text)
        for name, default in _defaults(model):
            if name in properties:
                properties[name].pop("default", None)
                if default != "":
                    properties[name]["default"] = default
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


def _parts(model: type[Part]) -> Iterator[type[Part]]:
    """All kinds of parts that a scenario is made of."""
    for part in model.__subclasses__():
        yield part
        yield from _parts(part)


def _defaults(model: type[Part]) -> Iterator[tuple[str, Any]]:
    """The YAML name of each field with a default, and the default as a file would have it: with units, without what is unset."""
    for name, field in model.model_fields.items():
        if field.default is not None and field.default is not PydanticUndefined:
            kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            written = TypeAdapter(kind).dump_python(field.default, mode="json", by_alias=True, exclude_none=True)
            if isinstance(written, dict):
                written = {key: value for key, value in written.items() if value != ""}
            yield field.alias or name, written


def _documented(model: type[Part]) -> Iterator[tuple[str, str]]:
    """The YAML name of each field that a docstring follows, and the docstring, those of base classes included.

    Read from the source, and only when a schema is asked for: pydantic can do the same, but at each import.
    """
    for base in model.__mro__:
        if not issubclass(base, Part) or base is Part or base.__module__ not in sys.modules:
            continue
        tree = ast.parse(inspect.getsource(sys.modules[base.__module__]))
        body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == base.__name__), [])
        for statement, following in pairwise(body):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            field = model.model_fields.get(statement.target.id)
            if field is None or not isinstance(following, ast.Expr) or not isinstance(following.value, ast.Constant):
                continue
            if isinstance(following.value.value, str):
                yield field.alias or statement.target.id, inspect.cleandoc(following.value.value)
