"""Typed models from data of a file: each mistake one `Problem` with its place, what is allowed and the nearest valid name.

pydantic says what is wrong by error type and location; here that becomes a sentence, set at the line where the value stands.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from svcsim.errors import Problem
from svcsim.spelling import nearest
from svcsim.yamlsource import DataPath, WrittenFloat

FROM_FILE: Mapping[str, object] = {"from_file": True}
"""Validation context of data that a person wrote: quantities need their units, bare numbers are refused."""

_EXPECTED = {
    "string_type": "a string", "string_sub_type": "a string", "int_type": "a whole number", "int_parsing": "a whole number",
    "int_from_float": "a whole number", "float_type": "a number", "float_parsing": "a number", "bool_type": "true or false",
    "bool_parsing": "true or false", "model_type": "a mapping", "model_attributes_type": "a mapping", "dict_type": "a mapping",
    "mapping_type": "a mapping", "tuple_type": "a list", "list_type": "a list", "dataclass_type": "a mapping",
    "none_required": "null", "is_instance_of": "another kind of value",
}
_BOUNDS = {
    "greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than", "less_than_equal": "at most",
}
_SHOWN = 60

Model = TypeVar("Model", bound=BaseModel)


class Places(Protocol):
    """Whoever knows where the parts of some data stand, such as a `Document`."""

    def problem(self, path: DataPath, message: str, *, at_key: bool = False) -> Problem:
        """A mistake at a path of the data."""
        ...


def validated(
    model: type[Model], data: object, document: Places, at: DataPath = (), context: Mapping[str, object] = FROM_FILE
) -> tuple[Model | None, list[Problem]]:
    """The model of `data`, which stands at the path `at` of a document; or None and every mistake in it."""
    try:
        return model.model_validate(data, context=dict(context), by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, list(_problems(error, model, data, document, at))


def plain_kind(value: object) -> str:
    """What a value of a file is, for a person."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
    if isinstance(value, WrittenFloat):
        return value.text[:_SHOWN]
    if isinstance(value, int | float):
        return str(value)[:_SHOWN]
    if isinstance(value, list | tuple):
        return "a list"
    return "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"


def _problems(
    error: ValidationError, model: type[BaseModel], data: object, document: Places, at: DataPath
) -> Iterator[Problem]:
    wanted: dict[DataPath, list[str]] = {}
    seen: set[tuple[DataPath, str]] = set()
    for detail in error.errors(include_url=False):
        path = at + _data_path(data, detail["loc"])
        kind = detail["type"]
        if kind in _EXPECTED:
            wanted.setdefault(path, []).append(_EXPECTED[kind])
            continue
        if kind == "missing":
            name = str(detail["loc"][-1])
            message, at_key = f"{name!r} is missing", False
        elif kind == "extra_forbidden":
            name = str(detail["loc"][-1])
            valid = set(_fields_at(model, detail["loc"][:-1]))
            message, at_key = f"unknown field {name!r}{nearest(name, valid, listed=14)}", True
        else:
            message, at_key = _sentence(detail), False
        if (path, message) not in seen:
            seen.add((path, message))
            yield document.problem(path, message, at_key=at_key)
    for path, kinds in wanted.items():
        value = _value(data, path[len(at) :])
        expected = " or ".join(dict.fromkeys(kinds))
        yield document.problem(path, f"{expected} is expected, not {plain_kind(value)}", at_key=value is None)


def _sentence(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind in {"literal_error", "enum"}:
        names = [name.strip().strip("'") for name in str(context["expected"]).replace(" or ", ", ").split(",")]
        hint = nearest(value, names, listed=0) if isinstance(value, str) else ""
        return f"{plain_kind(value)} is not one of {', '.join(names)}{hint}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        limit = next(value for key, value in context.items() if key in {"gt", "ge", "lt", "le"})
        return f"{plain_kind(value)} is out of range: {_BOUNDS[kind]} {limit} is allowed"
    if kind in {"too_short", "too_long"}:
        least = kind == "too_short"
        limit = context["min_length" if least else "max_length"]
        return f"at {'least' if least else 'most'} {limit} item{'s' if limit != 1 else ''} expected here"
    message = detail["msg"]
    return message[:1].lower() + message[1:]


def _data_path(data: object, location: Iterable[str | int]) -> DataPath:
    """The part of pydantic's location that the data has: tags of unions and names of missing fields are left out."""
    path: list[str | int] = []
    value = data
    for step in location:
        in_mapping = isinstance(value, dict) and isinstance(step, str) and step in value
        if in_mapping or (isinstance(value, list | tuple) and isinstance(step, int) and 0 <= step < len(value)):
            value = value[step]  # type: ignore[index]
            path.append(step)
    return tuple(path)


def _value(data: object, path: DataPath) -> object:
    for step in path:
        data = data[step]  # type: ignore[index]
    return data


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> Iterator[str]:
    """The names of the fields of whatever models may stand at a location."""
    reached: list[type[BaseModel]] = [model]
    for step in location:
        following = [kind for kind in reached if kind.__name__ == step]  # the tag of a union is a class's name
        for kind in () if following else reached:
            following += [
                inner
                for name, info in kind.model_fields.items()
                if step in (name, info.alias, info.validation_alias)
                for inner in _parts(info.annotation)
            ]
        # A step that no model knows is an index, a key of a mapping or the tag of a union: the models stay.
        reached = following or reached
    for kind in reached:
        for name, info in kind.model_fields.items():
            yield info.alias or name


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation, through unions, containers and `Annotated`."""
    inner = typing.get_args(annotation)
    if inner:
        for part in inner:
            yield from _parts(part)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
