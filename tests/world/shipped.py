"""The scenarios that svcsim ships, shortened so that each still meets its faults: for laws that hold in every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import svcsim
from svcsim.scenario.expansion import Variant, variants

FOLDER = Path(__file__).parents[2] / "scenarios"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
NESTED = tuple(sorted(
    path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/**/*.yaml") if "manifests" not in path.parts
))
"""Those in folders, of one subject each."""
EARLY_S, APART_S, LASTS_S, DURATION_S = 2, 3, 2, 10
QUICKLY = {"nodeMonitorGrace": "2s", "nodeMonitorPeriod": "500ms", "leaseRenew": "500ms", "nodeBoot": "1s"}


def short(name: str) -> tuple[Variant, ...]:
    """Every variant of a shipped scenario in ten seconds, with its faults one after the other; a node's death is seen soon."""
    path = FOLDER / f"{name}.yaml"
    given = svcsim.load(path)
    overrides: dict[str, Any] = {
        "run.duration": f"{DURATION_S}s", "run.warmup": "1s", "expect": [], "kubernetes.timings": QUICKLY,
    }
    for i, fault in enumerate(given.faults):
        overrides[f"faults[{i}].at"] = f"{EARLY_S + i * APART_S}s"
        if fault.ends_ns is not None:
            overrides[f"faults[{i}].for"] = f"{LASTS_S}s"
    if "services.count" in given.compare:
        overrides["compare"] = {**given.compare, "services.count": {"few": 20, "many": 300}}
    return variants(svcsim.load(path, overrides))
