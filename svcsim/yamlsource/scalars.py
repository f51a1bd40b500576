"""What a scalar means by the core schema of YAML 1.2, and floats that know how they were written."""

from __future__ import annotations

import math
import re

MAX_INTEGER = 2**63 - 1

NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class WrittenFloat(float):
    """A float that knows how it was written, for what is a version to a person and a number to YAML: `1.30`."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> WrittenFloat:  # noqa: D102
        value = super().__new__(cls, text)
        value.text = text
        return value

    def __reduce__(self) -> tuple[type[WrittenFloat], tuple[str]]:
        return (WrittenFloat, (self.text,))


def resolved(text: str) -> object:
    """What a plain scalar means; ValueError, with what is wrong, for a number that can't be computed with."""
    if text in NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        digits = len(text.lstrip("+-0"))
        value = int(text, 0 if text[:2] in {"0x", "0o"} else 10) if digits <= 40 else MAX_INTEGER + 1
        if abs(value) > MAX_INTEGER:
            raise ValueError(f"the number {text[:20]}… is beyond the limit of {MAX_INTEGER}")
        return value
    if _FLOAT.fullmatch(text):
        number = WrittenFloat(text)
        if math.isfinite(number):
            return number
        raise ValueError(f"the number {text[:20]} is too large")
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number to compute with")
    return text


def kind_of(value: object) -> str:
    """The name of its tag: `int`, `str` …"""
    if value is None:
        return "null"
    return {bool: "bool", int: "int", WrittenFloat: "float"}.get(type(value), "str")


def reads_as_text(text: str) -> bool:
    """Whether a plain scalar of this text would be read as a string."""
    return text not in NULL and text not in _BOOL and not any(
        pattern.fullmatch(text) for pattern in (_INT, _FLOAT, _NOT_FINITE)
    )
