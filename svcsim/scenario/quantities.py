"""Quantities of the scenario file as types: text with a unit outside, plain numbers inside, and a schema for editors.

In data of a file a bare number is refused where a unit belongs; models built in Python take the plain number as well
(nanoseconds, bytes, events a second, bits a second).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo, WithJsonSchema
from pydantic.alias_generators import to_camel

from svcsim.units import MS, bandwidth_bit_per_s, duration_ns, duration_text, fraction, rate_per_s, size_bytes
from svcsim.validation import plain_kind
from svcsim.yamlsource import WrittenFloat

Family = Literal["IPv4", "IPv6"]
_KERNEL = re.compile(r"^\d{1,2}\.\d{1,3}(?![\d])")
_UNIT_SUFFIX = re.compile(r"_(ns|bytes|per_s|bit_per_s)$")


def spelling(name: str) -> str:
    """The YAML spelling of a field: camelCase, without the unit that ends its name in Python.

    >>> spelling("connect_timeout_ns"), spelling("service_cidr"), spelling("pool_size")
    ('connectTimeout', 'serviceCIDR', 'poolSize')
    """
    camel = to_camel(_UNIT_SUFFIX.sub("", name))
    return re.sub(r"Cidr$", "CIDR", camel)


LEAST_PERIOD_NS = MS


class Part(BaseModel):
    """A part of a scenario: unknown fields are mistakes, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=spelling, validate_by_name=True, validate_by_alias=True,
        serialize_by_alias=True,
    )


def from_file(info: ValidationInfo) -> bool:
    """Whether the data was written by a person, so that units are due."""
    return bool(info.context and info.context.get("from_file"))


def _reader(parse: Callable[[Any], Any], kind: type | tuple[type, ...]) -> BeforeValidator:
    def read(value: object, info: ValidationInfo) -> object:
        if not from_file(info) and isinstance(value, kind) and not isinstance(value, bool):
            return value
        return parse(value)

    return BeforeValidator(read)


def _duration(value: object) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a duration carries a unit, as in '250ms' or '30s' (got {plain_kind(value)})")
    if not isinstance(value, str):
        raise ValueError(f"a duration is expected, as '250ms' or '30s', not {plain_kind(value)}")
    if value.strip().startswith("-"):
        raise ValueError(f"a duration is not negative (got {plain_kind(value)})")
    return duration_ns(value)


def _positive(parse: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        found = parse(value)
        if found <= 0:
            raise ValueError(f"{what} is more than zero here (got {plain_kind(value)})")
        return found

    return read


def _period(value: object) -> int:
    found = _duration(value)
    if found < LEAST_PERIOD_NS:
        raise ValueError(f"a period of at least {duration_text(LEAST_PERIOD_NS)} is expected here (got {plain_kind(value)})")
    return found


def _rate(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError(f"a rate is expected, as '400/s' or '30/min', not {plain_kind(value)}")
    return rate_per_s(value)


def rate_text(rate: float) -> str:
    """The shortest text that `rate_per_s` reads back."""
    return f"{int(rate) if rate == int(rate) else format(Decimal(repr(rate)), 'f')}/s"


def size_text(size: int) -> str:
    """The shortest exact text that `size_bytes` reads back."""
    for name, unit in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"


def bandwidth_text(bit_per_s: int) -> str:
    """The shortest exact text that `bandwidth_bit_per_s` reads back."""
    for name, unit in (("Tbit/s", 10**12), ("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if bit_per_s % unit == 0:
            return f"{bit_per_s // unit}{name}"
    return f"{bit_per_s}bit/s"


def share_text(share: float) -> str:
    """A share as `fraction` reads it back."""
    text = f"{share * 100:.10f}".rstrip("0").rstrip(".") + "%"
    return text if fraction(text) == share else repr(share)


def _schema(pattern: str, *examples: object, number: bool = False) -> WithJsonSchema:
    text = {"type": "string", "pattern": pattern, "examples": list(examples)}
    return WithJsonSchema({"anyOf": [text, {"type": "number", "minimum": 0, "maximum": 1}]} if number else text)


_NUMBER = r"\d+(\.\d+)?"
_DURATION_PATTERN = rf"^(0|({_NUMBER}(ns|us|µs|ms|s|min|m|h|d))+)$"
_DURATION_SCHEMA = _schema(_DURATION_PATTERN, "250ms", "30s", "1h30m")

Duration = Annotated[int, _reader(_duration, int), Field(ge=0), PlainSerializer(duration_text), _DURATION_SCHEMA]
"""Nanoseconds, written `250ms`; zero allowed."""
PositiveDuration = Annotated[
    int, _reader(_positive(_duration, "the duration"), int), Field(gt=0), PlainSerializer(duration_text), _DURATION_SCHEMA
]
"""Nanoseconds, more than zero."""
Period = Annotated[
    int, _reader(_period, int), Field(ge=LEAST_PERIOD_NS), PlainSerializer(duration_text), _DURATION_SCHEMA
]
"""Nanoseconds between two rounds of what goes on for the whole run: not so few that a run would never end."""
Rate = Annotated[
    float, _reader(_positive(_rate, "the rate"), (int, float)), Field(gt=0, allow_inf_nan=False), PlainSerializer(rate_text),
    _schema(rf"^{_NUMBER} ?/ ?(ms|s|sec|second|m|min|minute|h|hour)$", "400/s", "30/min"),
]
"""Events a second, written `400/s`; more than zero."""
RateOrZero = Annotated[
    float, _reader(_rate, (int, float)), Field(ge=0, allow_inf_nan=False), PlainSerializer(rate_text),
    _schema(rf"^{_NUMBER} ?/ ?(ms|s|sec|second|m|min|minute|h|hour)$", "0/s", "400/s"),
]
"""Events a second, zero allowed."""
Size = Annotated[
    int, BeforeValidator(size_bytes), Field(ge=0), PlainSerializer(size_text),
    WithJsonSchema({"anyOf": [
        {"type": "string", "pattern": rf"^{_NUMBER} ?(B|k|kB|Ki|KiB|M|MB|Mi|MiB|G|GB|Gi|GiB)?$", "examples": ["512B", "4KiB"]},
        {"type": "integer", "minimum": 0},
    ]}),
]
"""Bytes, written `512`, `4KiB` or `1MB`."""
Bandwidth = Annotated[
    int, _reader(bandwidth_bit_per_s, int), Field(gt=0), PlainSerializer(bandwidth_text),
    _schema(rf"^{_NUMBER} ?(|k|M|G|T)bit/s$", "100Mbit/s", "10Gbit/s"),
]
"""Bits a second, written `10Gbit/s`."""
Share = Annotated[
    float, BeforeValidator(fraction), PlainSerializer(share_text), _schema(rf"^{_NUMBER} ?%$", "0.1%", "99.9%", number=True)
]
"""A share between 0 and 1, written `0.1%` or `0.001`."""


def _factor(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        match = re.fullmatch(rf"({_NUMBER})\s*[x×]?", value.strip())
        if match is None:
            raise ValueError(f"a factor is expected, as 10 or '10x', not {plain_kind(value)}")
        return float(match.group(1))
    return value


Factor = Annotated[
    float, BeforeValidator(_factor), Field(gt=0, le=1_000_000, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": rf"^{_NUMBER} ?[x×]$"}]}),
]
"""A factor, written `10` or `10x`."""


def _cidr(value: object) -> str:
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"a block of addresses is expected, as '10.96.0.0/12', not {plain_kind(value)}")
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError(f"not a block of addresses: {error}") from None


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"an IP address is expected, as '203.0.113.10', not {plain_kind(value)}")
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(f"{plain_kind(value)} is not an IP address") from None


def _one_a_family(read: Callable[[object], str], what: str) -> Callable[[object], tuple[str, ...]]:
    """Reads one value, or two of different families: `a,b` as flags of Kubernetes take them, or a list."""

    def parse(value: object) -> tuple[str, ...]:
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            parts = [parts]
        if not 1 <= len(parts) <= 2:
            raise ValueError(f"{what} is expected, or one of IPv4 and one of IPv6 (got {len(parts)})")
        found = tuple(read(part) for part in parts)
        families = tuple(map(family_of, found))
        if len(set(families)) < len(families):
            raise ValueError(f"of two, one is IPv4 and one is IPv6 (both are {families[0]}: {', '.join(found)})")
        return found

    return parse


def family_of(text: str) -> Family:
    """The family of an address or a block."""
    return "IPv6" if ":" in text else "IPv4"


def _pair_schema(*examples: str) -> WithJsonSchema:
    one = {"type": "string", "examples": list(examples)}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}]})


Cidr = Annotated[str, BeforeValidator(_cidr), WithJsonSchema({"type": "string", "examples": ["10.96.0.0/12"]})]
"""A block of addresses, `10.244.0.0/16`, without host bits."""
IpAddress = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string", "examples": ["203.0.113.10"]})]
"""An IPv4 or IPv6 address."""
Cidrs = Annotated[
    tuple[str, ...], BeforeValidator(_one_a_family(_cidr, "a block of addresses")), PlainSerializer(",".join),
    _pair_schema("10.96.0.0/12", "10.96.0.0/12,fd00:10:96::/112"),
]
"""A block of addresses, or one of each family, the primary one first: `10.96.0.0/12,fd00:10:96::/112`."""
IpAddresses = Annotated[
    tuple[str, ...], BeforeValidator(_one_a_family(_address, "an IP address")), PlainSerializer(",".join),
    _pair_schema("203.0.113.10", "203.0.113.10,2001:db8::10"),
]
"""An address, or one of each family, the primary one first."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"a name is expected (lower-case letters, digits, '-' and '.'), not {plain_kind(value)}")
    return value


def _kernel(value: object) -> str:
    text = value.text if isinstance(value, WrittenFloat) else value
    if not isinstance(text, str) or not (match := _KERNEL.match(text)):
        raise ValueError(f"a version of Linux is expected, as '5.4' or '6.1.0-18-amd64', not {plain_kind(value)}")
    return match.group()


KernelVersion = Annotated[
    str, BeforeValidator(_kernel),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _KERNEL.pattern, "examples": ["5.4"]}, {"type": "number"}]}),
]
"""Major and minor version of a Linux kernel."""

Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": rf"^{_NAME.pattern}$"})]
"""A name as Kubernetes objects have them (RFC 1123 subdomain)."""
Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP or UDP port."""
Count = Annotated[int, Field(ge=0)]
"""How many; zero allowed."""
PositiveCount = Annotated[int, Field(ge=1)]
"""How many; at least one."""
Labels = dict[str, str]
"""Labels, name to value."""
