"""Field errors: what is wrong with which field of an object.

Source: k8s.io/apimachinery pkg/util/validation/field (errors.go, path.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ErrorType = Literal["Required", "Invalid", "NotSupported", "Forbidden", "Duplicate", "TooLong", "TooMany"]


@dataclass(frozen=True, slots=True)
class Path:
    """The path of a field: `spec.ports[0].name`, `metadata.annotations[key]`."""

    text: str

    def child(self, name: str) -> Path:
        """A field of this one."""
        return Path(f"{self.text}.{name}" if self.text else name)

    def at(self, key: int | str) -> Path:
        """An element of a list, or the value of a key of a map."""
        return Path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule: its kind, the field's path, and what would be right."""

    type: ErrorType
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def required(path: Path, message: str = "") -> FieldError:
    """A field that must be set is empty."""
    return FieldError("Required", str(path), f"required{': ' if message else ''}{message}")


def invalid(path: Path, message: str) -> FieldError:
    """A value breaks a rule."""
    return FieldError("Invalid", str(path), message)


def forbidden(path: Path, message: str) -> FieldError:
    """A field must not be set here."""
    return FieldError("Forbidden", str(path), message)


def duplicate(path: Path, value: object) -> FieldError:
    """A value stands elsewhere already."""
    return FieldError("Duplicate", str(path), f"duplicate value {value!r}")


def not_supported(path: Path, value: object, supported: tuple[str, ...]) -> FieldError:
    """A value is not one of those that there are."""
    return FieldError("NotSupported", str(path), f"{value!r} is not supported; there are {', '.join(supported)}")
