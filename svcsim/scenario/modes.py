"""Proxy modes as people write them, `ipvs/lc` or `iptables/nft`, and the values of the axes of a comparison or a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from svcsim.errors import UsageError
from svcsim.scenario.kubernetes import BACKENDS, MODES, SCHEDULERS
from svcsim.spelling import nearest

PROXY = "kubernetes.proxy"
_PARTS = ("mode", "scheduler", "backend")


def proxy_of(mode: str, where: str) -> dict[str, str]:
    """`ipvs/lc` is mode ipvs with scheduler lc; the backends of iptables are `iptables/nft` and `iptables/legacy`.

    UsageError, which begins with `where`, for a mode that there is not.
    """
    name, slash, detail = mode.partition("/")
    if name not in MODES:
        raise UsageError(f"{where}: there is no proxy mode {name[:60]!r}{nearest(name, MODES)}")
    details = {"ipvs": SCHEDULERS, "iptables": BACKENDS}.get(name, ())
    if slash and detail not in details:
        what = {"ipvs": "scheduler of IPVS", "iptables": "backend of iptables"}.get(name)
        hint = f"there is no {what} {detail[:60]!r}{nearest(detail, details, listed=20)}" if what else f"write {where} {name}"
        raise UsageError(f"{where} {mode[:60]}: {hint}")
    if not slash:
        return {"mode": name}
    return {"mode": name, "scheduler": detail} if name == "ipvs" else {"mode": name, "backend": detail}


def values_at(path: str, values: Iterable[Any], where: str) -> list[Any]:
    """The values that a path takes; those of `kubernetes.proxy` may be modes as they are written."""
    if path != PROXY:
        return list(values)
    return [proxy_of(value, where) if isinstance(value, str) else value for value in values]


def compared(axes: Mapping[str, Iterable[Any]], where: str) -> dict[str, Any]:
    """What a scenario's `compare` is for these axes: modes by their names, other values in a list, a mapping as it is.

    >>> compared({"kubernetes.proxy": ["ipvs/lc"], "cluster.nodes.count": [3, 6]}, "over")
    {'kubernetes.proxy': {'ipvs/lc': {'mode': 'ipvs', 'scheduler': 'lc'}}, 'cluster.nodes.count': [3, 6]}
    """
    found: dict[str, Any] = {}
    for path, given in axes.items():
        if isinstance(given, Mapping):
            found[path] = dict(given)
            continue
        values = values_at(path, given, where)
        found[path] = {_named(mode): mode for mode in values} if path == PROXY and _all_modes(values) else values
    return found


def _all_modes(values: list[Any]) -> bool:
    return all(isinstance(value, dict) and set(value) <= set(_PARTS) for value in values)


def _named(mode: dict[str, str]) -> str:
    return "/".join(mode[part] for part in _PARTS if part in mode)
