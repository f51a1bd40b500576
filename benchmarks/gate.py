"""How well the gate of `svcsim check` sees: what golden catches, the power of tolerance, and how often it is wrong.

`python -m benchmarks.gate [golden|power|alarms …]` prints each with its figures.
"""

from __future__ import annotations

import concurrent.futures
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import svcsim
from svcsim.analysis.regression import compare
from svcsim.calibration.costs import costs_of
from svcsim.results.baseline import Baseline
from svcsim.results.measured import Figure, Measured
from svcsim.scenario.expansion import variants
from svcsim.scenario.figures import figures_of
from svcsim.scenario.model import Scenario
from svcsim.sweep.checking import TOLERANCE_REPLICATIONS, tasks_of
from svcsim.sweep.tasks import perform

ROOT = Path(__file__).parent.parent
SMALL = """
apiVersion: svcsim/v1
kind: Scenario
metadata: {name: small}
cluster: {nodes: 2}
kubernetes: {dns: {replicas: 1}}
manifests:
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, selector: {matchLabels: {app: web}},
     template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, ports: [{containerPort: 80}]}]}}}}
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
workloads:
  - {name: load, to: "http://web:80", arrivals: {poisson: 150/s}, resolve: never, connections: new}
run: {duration: 1200ms, warmup: 200ms}
"""
AT_SCALE = SMALL.replace("workloads:", "services: {count: 20000}\nworkloads:").replace("duration: 1200ms", "duration: 3s")


def baseline_of(runs: Sequence[Measured], figures: Sequence[Figure]) -> Baseline:
    """A baseline of these runs, its provenance left out."""
    return Baseline("small", "", "", "", "", "", tuple(figure.text for figure in figures), tuple(runs))


def runs_of(scenario: Scenario, figures: tuple[Figure, ...], first_seed: int, count: int) -> list[Measured]:
    """So many runs from a seed on."""
    return [perform(task) for task in tasks_of(scenario, figures, tuple(range(first_seed, first_seed + count)))]


def golden() -> Iterator[str]:
    """Every cost entry that a scenario uses, one tenth higher, one at a time: does the fingerprint change?"""
    names = sorted((ROOT / "scenarios").glob("*.yaml"))
    tried = caught = 0
    missed: list[str] = []
    for path in names:
        for label, variant in variants(svcsim.load(path, {"run.duration": "8s", "run.warmup": "1s", "expect": [], "faults": []})):
            profile = variant.calibration.load()
            mode = costs_of(profile, variant.kubernetes.mode, variant.kubernetes.proxy.backend).mode_key
            before = _fingerprint(variant)
            for entry in used_entries(variant, mode):
                tried += 1
                changed = variant.model_copy(update={"calibration": variant.calibration.model_copy(
                    update={"overrides": {**variant.calibration.overrides, entry: profile.entries[entry].value * 1.1}})})
                if _fingerprint(changed) != before:
                    caught += 1
                else:
                    missed.append(f"{path.stem} {label} {entry}")
    yield f"golden: of {tried} costs that were used, one tenth higher, {caught} changed the fingerprint"
    yield from (f"  missed: {each}" for each in missed)


def _fingerprint(scenario: Scenario) -> str:
    return svcsim.run_one(scenario).fingerprint


def used_entries(scenario: Scenario, mode_key: str) -> list[str]:
    """The entries of the profile whose doubling changes anything in this scenario: those that it uses."""
    profile = scenario.calibration.load()
    before = _fingerprint(scenario)
    found = []
    for entry in profile.entries:
        value = profile.entries[entry].value
        doubled = scenario.model_copy(update={"calibration": scenario.calibration.model_copy(
            update={"overrides": {**scenario.calibration.overrides, entry: value * 2}})})
        if value and _fingerprint(doubled) != before:
            found.append(entry)
    return found


def _trial(arguments: tuple[str, dict[str, object], int]) -> bool:
    text, changed, number = arguments
    before, after = svcsim.loads(text), svcsim.loads(text, changed)
    figures = figures_of(before)
    seed = 1 + number * TOLERANCE_REPLICATIONS
    old = runs_of(before, figures, seed, TOLERANCE_REPLICATIONS)
    new = runs_of(after, figures, seed, TOLERANCE_REPLICATIONS)
    return any(row.finding.fails for row in compare(baseline_of(old, figures), baseline_of(new, figures), figures))


def power(trials: int = 60) -> Iterator[str]:
    """The share of checks, at the default replications and the baseline's seeds, that see a tenth more."""
    profile = svcsim.loads(SMALL).calibration.load()
    per_rule = [entry for entry in profile.entries if entry.startswith("modes.iptables.service_rule_") and "knee" not in entry]
    cases: list[tuple[str, str, dict[str, object], int]] = [
        ("10% of service time", SMALL.replace("run:", "servers: [{match: {app: web}, serviceTime: {exponential: 2ms}}]\nrun:"),
         {"servers[0].serviceTime": {"exponential": "2.2ms"}}, trials),
        ("10% of the rule cost at 20,000 Services", AT_SCALE,
         {"calibration.overrides": {entry: profile.entries[entry].value * 1.1 for entry in per_rule}}, max(10, trials // 3)),
    ]
    for words, text, changed, count in cases:
        began = time.monotonic()
        with concurrent.futures.ProcessPoolExecutor() as pool:
            seen = sum(pool.map(_trial, [(text, changed, number) for number in range(count)]))
        low = _lower_bound(seen, count)
        took = time.monotonic() - began
        yield f"tolerance: {words}: seen in {seen} of {count} checks (power at least {low:.2f} at 95%), {took:.0f} s"


def _pair(number: int) -> bool:
    scenario = svcsim.loads(SMALL)
    figures = figures_of(scenario)
    seed = 1 + 2 * number * TOLERANCE_REPLICATIONS
    sides = [runs_of(scenario, figures, seed + side * TOLERANCE_REPLICATIONS, TOLERANCE_REPLICATIONS) for side in (0, 1)]
    rows = compare(baseline_of(sides[0], figures), baseline_of(sides[1], figures), figures, {"*": 0.0})
    return any(row.finding.value in {"worse", "better", "moved"} for row in rows)


def alarms(pairs: int = 1000) -> Iterator[str]:
    """How often a check with other seeds, tolerance zero and nothing changed says that something moved."""
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        wrong = sum(pool.map(_pair, range(pairs), chunksize=10))
    share, half = wrong / pairs, 2.576 * math.sqrt(max(wrong, 1) / pairs * (1 - wrong / pairs) / pairs)
    yield (
        f"alarms: {wrong} of {pairs} pairs of different seeds, nothing changed, tolerance zero: {100 * share:.1f}%, "
        f"99% interval {100 * max(0.0, share - half):.1f}% to {100 * (share + half):.1f}%; stated: at most 5%, "
        f"{time.monotonic() - began:.0f} s"
    )


def _lower_bound(seen: int, count: int, level: float = 0.95) -> float:
    """Clopper and Pearson's one-sided lower bound of a share."""
    from scipy.stats import beta

    return 0.0 if seen == 0 else float(beta.ppf(1 - level, seen, count - seen + 1))


PARTS = {"golden": golden, "power": power, "alarms": alarms}


def main(names: Sequence[str]) -> None:
    """Print the parts asked for, all by default."""
    for name in names or PARTS:
        for line in PARTS[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
