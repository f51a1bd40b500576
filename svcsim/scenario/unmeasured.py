"""How many of the costs that a run, or a comparison, is built on were not measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from svcsim.calibration.costs import costs_of
from svcsim.calibration.entries import Entry
from svcsim.scenario.model import Scenario


def unmeasured_costs(variants: Iterable[Scenario]) -> int:
    """Entries of cost profiles that take part in any of the variants and are derived, published or assumed.

    Each counts once, for however many variants and modes: also one that a mode inherits from another.
    """
    found: set[tuple[str, Entry]] = set()
    for variant in variants:
        profile = variant.calibration.load()
        mode_key = costs_of(profile, variant.kubernetes.mode, variant.kubernetes.proxy.backend).mode_key
        for entry in profile.entries_of(mode_key):
            if entry.basis != "measured":
                found.add((profile.name, replace(entry, path=entry.path.removeprefix(f"modes.{mode_key}."))))
    return len(found)
