"""Reading a manifest's fields as validation does: what is missing reads as empty, and so does a value of another type.

A value of another type is the business of decoding, which comes first and has its own message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Manifest = Mapping[str, Any]


def text(manifest: Manifest, field: str) -> str:
    """A string field."""
    value = manifest.get(field)
    return value if isinstance(value, str) else ""


def number(manifest: Manifest, field: str) -> int:
    """An integer field."""
    value = manifest.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def mapping(manifest: Manifest, field: str) -> Manifest:
    """A map or an object."""
    value = manifest.get(field)
    return value if isinstance(value, Mapping) else {}


def texts(manifest: Manifest, field: str) -> list[str]:
    """A list of strings."""
    value = manifest.get(field)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item if isinstance(item, str) else "" for item in value]


def mappings(manifest: Manifest, field: str) -> list[Manifest]:
    """A list of objects."""
    value = manifest.get(field)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item if isinstance(item, Mapping) else {} for item in value]
