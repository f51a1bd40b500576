"""The registry of vector kinds: one module a kind, found by its `KIND` and `run`.

A module here (unless its name starts with an underscore) holds `KIND: str`, the name of the kind's folder,
and `run(vector: dict) -> None`, which raises AssertionError when the model does not do what the vector says.
Kinds in `PENDING` are known but have no module yet: their vectors are counted apart and never as passed. A
kind that is in neither is unknown.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

Runner = Callable[[dict], None]

PENDING: tuple[str, ...] = (
    "conntrack",
    "endpoints-map",
    "no-local-endpoints",
    "rules-iptables",
    "service-map",
)


class RegistryError(Exception):
    """A module of this package cannot serve as a kind."""


def discover() -> dict[str, Runner | None]:
    """Every known kind and its runner, None for a pending one (a module takes its kind off that list)."""
    runners: dict[str, Runner | None] = dict.fromkeys(PENDING)
    owners: dict[str, str] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name.startswith("_"):
            continue
        name = f"{__name__}.{module_info.name}"
        module = importlib.import_module(name)
        kind, run = getattr(module, "KIND", None), getattr(module, "run", None)
        if not isinstance(kind, str) or not callable(run):
            raise RegistryError(f"{name} needs KIND: str and run(vector)")
        if kind in owners:
            raise RegistryError(f"kind {kind} has two modules: {owners[kind]} and {name}")
        owners[kind] = name
        runners[kind] = run
    return runners
