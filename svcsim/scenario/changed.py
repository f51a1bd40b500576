"""A scenario, or the file of one, with values changed by path: what the library's calls take and the commands' `--set` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svcsim.scenario.loader import load, loads
from svcsim.scenario.model import Scenario
from svcsim.yamldump import dump


def changed(scenario: Scenario | str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """The scenario with these values, checked again as a whole; InputError with every mistake.

    A scenario that has been loaded is written as it was read, files inlined, and read again; places of mistakes in it are then
    those of that text.
    """
    if not isinstance(scenario, Scenario):
        return load(scenario, overrides)
    if not overrides:
        return scenario
    return loads(dump(scenario.origin.data), f"<{scenario.name}>", name=scenario.name, overrides=overrides)
