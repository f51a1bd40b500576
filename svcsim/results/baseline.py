"""A stored baseline: the figures and fingerprints of a scenario's runs, and what they were made with.

One JSON file a scenario, schema `svcsim/baseline/v1`, written to be kept under version control: sorted, a line a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcsim.errors import UsageError
from svcsim.results.measured import Figure, Measured
from svcsim.results.result import Provenance

BASELINE_SCHEMA = "svcsim/baseline/v1"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a scenario's runs gave when it was stored."""

    scenario: str
    scenario_hash: str
    """Of the resolved scenario, expectations left out."""
    svcsim: str
    python: str
    numpy: str
    profile: str
    figures: tuple[str, ...]
    runs: tuple[Measured, ...]

    def differences(self, now: Baseline) -> list[str]:
        """What it was made with that is not the same now, in words."""
        found = []
        for name, words in (("svcsim", "svcsim"), ("python", "Python"), ("numpy", "NumPy"), ("profile", "profile")):
            before, after = getattr(self, name), getattr(now, name)
            if before != after:
                found.append(f"{words} {before} then, {after} now")
        if self.scenario_hash != now.scenario_hash:
            found.append("the scenario was another one")
        return found

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs, each once, in order."""
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    def values(self, label: str, figure: str) -> tuple[float, ...] | None:
        """A variant's values of a figure, one a replication; None if it has none of them."""
        if figure not in self.figures:
            return None
        place = self.figures.index(figure)
        return tuple(run.values[place] for run in self.of(label)) or None

    def of(self, label: str) -> tuple[Measured, ...]:
        """A variant's runs, by replication."""
        return tuple(sorted((run for run in self.runs if run.label == label), key=lambda run: run.replication))


def baseline_of(
    provenance: Provenance, scenario_hash: str, figures: Sequence[Figure], runs: Sequence[Measured]
) -> Baseline:
    """The baseline that these runs make, with the versions of one of them."""
    return Baseline(
        provenance.scenario, scenario_hash, provenance.svcsim, provenance.python, provenance.numpy, provenance.profile,
        tuple(figure.text for figure in figures), tuple(runs),
    )


def dumps(baseline: Baseline) -> str:
    """A baseline as JSON, the same text for the same content."""
    head = {
        "schema": BASELINE_SCHEMA,
        "scenario": baseline.scenario,
        "scenario_hash": baseline.scenario_hash,
        "versions": {"svcsim": baseline.svcsim, "python": baseline.python, "numpy": baseline.numpy},
        "profile": baseline.profile,
        "figures": list(baseline.figures),
    }
    lines = [json.dumps(head, indent=2, ensure_ascii=False)[:-2] + ',\n  "runs": [']
    rows = [
        "    " + json.dumps(
            {
                "variant": run.label, "replication": run.replication, "seed": run.seed, "requests": run.requests,
                "fingerprint": run.fingerprint, "values": [_plain(value) for value in run.values],
            },
            ensure_ascii=False,
        )
        for run in baseline.runs
    ]
    return "\n".join([*lines, ",\n".join(rows), "  ]", "}"]) + "\n"


def _plain(value: float) -> float | int | str:
    if not math.isfinite(value):
        return repr(value)
    return int(value) if value == int(value) else value


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file; UsageError if there is none, or if it is not one."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if told.get("schema") != BASELINE_SCHEMA:
            raise ValueError(f"its schema is not {BASELINE_SCHEMA}")
        versions = told["versions"]
        figures = tuple(map(str, told["figures"]))
        runs = tuple(_run(run, len(figures)) for run in told["runs"])
        return Baseline(
            str(told["scenario"]), str(told["scenario_hash"]), str(versions["svcsim"]), str(versions["python"]),
            str(versions["numpy"]), str(told["profile"]), figures, runs,
        )
    except FileNotFoundError:
        raise UsageError(f"there is no baseline {path}: store one with --update") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a baseline of svcsim: {error}") from None


def _run(told: dict[str, Any], figures: int) -> Measured:
    values = tuple(float(value) for value in told["values"])
    if len(values) != figures:
        raise ValueError(f"a run has {len(values)} values for {figures} figures")
    return Measured(
        str(told["variant"]), int(told["replication"]), int(told["seed"]), int(told["requests"]), str(told["fingerprint"]), values
    )
