"""Quantities with units: text outside, plain integers inside.

Time is integer nanoseconds, sizes are bytes, rates are events a second and bandwidths are bits a second.

>>> duration_ns("250ms"), duration_ns("1m30s")
(250000000, 90000000000)
>>> rate_per_s("30/min")
0.5
>>> format_ns(1_530_000)
'1.53 ms'
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

NS = 1
US = 1_000
MS = 1_000_000
S = 1_000_000_000
MINUTE = 60 * S
HOUR = 3600 * S
DAY = 24 * HOUR

_DURATION_UNITS = {"ns": NS, "us": US, "µs": US, "μs": US, "ms": MS, "s": S, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|min|s|m|h|d)")
_RATE = re.compile(r"^(\d+(?:\.\d+)?)\s*/\s*(ms|s|sec|second|m|min|minute|h|hour)$")
_RATE_UNITS = {"ms": Fraction(1000), "s": Fraction(1), "sec": Fraction(1), "second": Fraction(1), "m": Fraction(1, 60),
               "min": Fraction(1, 60), "minute": Fraction(1, 60), "h": Fraction(1, 3600), "hour": Fraction(1, 3600)}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*(B|k|kB|Ki|KiB|M|MB|Mi|MiB|G|GB|Gi|GiB)?$")
_SIZE_UNITS = {"": 1, "B": 1, "k": 10**3, "kB": 10**3, "Ki": 2**10, "KiB": 2**10, "M": 10**6, "MB": 10**6, "Mi": 2**20,
               "MiB": 2**20, "G": 10**9, "GB": 10**9, "Gi": 2**30, "GiB": 2**30}
_BANDWIDTH = re.compile(r"^(\d+(?:\.\d+)?)\s*(bit/s|kbit/s|Mbit/s|Gbit/s|Tbit/s)$")
_BANDWIDTH_UNITS = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9, "Tbit/s": 10**12}
_PERCENT = re.compile(r"^(\d+(?:\.\d+)?)\s*%$")

MAX_DURATION_NS = 366 * DAY
MAX_RATE_PER_S = 10_000_000.0
MAX_SIZE_BYTES = 2**40


def duration_ns(text: str) -> int:
    """Nanoseconds of a duration such as `250ms`, `1.5s` or `1h30m`; ValueError says what would be right."""
    if not isinstance(text, str):
        raise ValueError(f"a duration carries a unit, as in '250ms' or '30s' (got {text!r})")
    stripped = text.strip()
    if stripped == "0":
        return 0
    total = Fraction(0)
    position = 0
    while position < len(stripped):
        match = _DURATION_PART.match(stripped, position)
        if match is None:
            raise ValueError(f"not a duration: {text[:40]!r} (write '250ms', '30s' or '1h30m')")
        total += Fraction(match.group(1)) * _DURATION_UNITS[match.group(2)]
        position = match.end()
    if not stripped:
        raise ValueError("an empty duration (write '250ms', '30s' or '1h30m')")
    if total > MAX_DURATION_NS:
        raise ValueError(f"{text[:40]!r} is longer than the limit of 366 days")
    return round(total)


def rate_per_s(text: str) -> float:
    """Events a second of a rate such as `400/s` or `30/min`."""
    match = _RATE.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"not a rate: {str(text)[:40]!r} (write '400/s' or '30/min')")
    rate = float(Fraction(match.group(1)) * _RATE_UNITS[match.group(2)])
    if rate > MAX_RATE_PER_S:
        raise ValueError(f"{text[:40]!r} is above the limit of {MAX_RATE_PER_S:,.0f}/s")
    return rate


def size_bytes(text: str | int) -> int:
    """Bytes of a size such as `512`, `4KiB` or `1.5MB`."""
    match = _SIZE.match(str(text).strip()) if isinstance(text, str | int) and not isinstance(text, bool) else None
    if match is None:
        raise ValueError(f"not a size: {str(text)[:40]!r} (write '512B', '4KiB' or '1MB')")
    size = round(Fraction(match.group(1)) * _SIZE_UNITS[match.group(2) or ""])
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"{str(text)[:40]!r} is above the limit of 1 TiB")
    return size


def bandwidth_bit_per_s(text: str) -> int:
    """Bits a second of a bandwidth such as `10Gbit/s`."""
    match = _BANDWIDTH.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"not a bandwidth: {str(text)[:40]!r} (write '100Mbit/s' or '10Gbit/s')")
    value = round(Fraction(match.group(1)) * _BANDWIDTH_UNITS[match.group(2)])
    if value == 0:
        raise ValueError("a bandwidth of zero (take the link down with a fault instead)")
    return value


def fraction(text: str | float) -> float:
    """A share between 0 and 1, written `0.1%` or `0.001`."""
    if isinstance(text, str):
        match = _PERCENT.match(text.strip())
        if match is None:
            raise ValueError(f"not a share: {text[:40]!r} (write '0.1%' or 0.001)")
        value = float(Fraction(match.group(1)) / 100)
    elif isinstance(text, bool) or not isinstance(text, int | float):
        raise ValueError(f"not a share: {str(text)[:40]!r} (write '0.1%' or 0.001)")
    else:
        value = float(text)
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise ValueError(f"a share lies between 0 and 1, or 0% and 100% (got {str(text)[:40]})")
    return value


def format_ns(ns: float) -> str:
    """A duration for a person, three significant digits and a unit."""
    if not math.isfinite(ns):
        return "–" if math.isnan(ns) else "∞"
    magnitude = abs(ns)
    for limit, unit, name in ((US, NS, "ns"), (MS, US, "µs"), (S, MS, "ms"), (10 * MINUTE, S, "s"), (HOUR, MINUTE, "min")):
        if magnitude < limit * 0.9995 or (unit == MINUTE and magnitude < HOUR):
            return f"{_three_digits(ns / unit)} {name}"
    return f"{_three_digits(ns / HOUR)} h"


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration_text(ns: int) -> str:
    """The shortest exact text that `duration_ns` reads back, such as `1m30s`, `250ms`."""
    if ns == 0:
        return "0s"
    parts = []
    for name, unit in (("h", HOUR), ("m", MINUTE), ("s", S), ("ms", MS), ("us", US), ("ns", NS)):
        count, ns = divmod(ns, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts)
