"""How well the gate of `svcsim check` sees: what golden catches, the power of tolerance, and how often it is wrong.

`python -m benchmarks.gate [golden|power|alarms …]` prints each with its figures.
"""

from __future__ import annotations

import concurrent.futures
import math
import sys
import time
from collections.abc import Iterator, Sequence

import svcsim
from svcsim.analysis.regression import compare
from svcsim.calibration.costs import costs_of
from svcsim.calibration.entries import WHOLE_NUMBERS
from svcsim.results.baseline import Baseline
from svcsim.results.measured import Figure, Measured
from svcsim.scenario.figures import figures_of
from svcsim.scenario.model import Scenario
from svcsim.sweep.checking import TOLERANCE_REPLICATIONS, tasks_of
from svcsim.sweep.tasks import perform

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
DATAGRAMS = "  - {name: datagrams, to: 'udp://web:53', arrivals: {poisson: 100/s}, timeout: 1s, resolve: never}\n"
BOTH = SMALL.replace("run:", f"{DATAGRAMS}run:").replace(
    "ports: [{port: 80}]}}", "ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}}"
)
AT_SCALE = SMALL.replace("workloads:", "services: {count: 20000}\nworkloads:").replace("duration: 1200ms", "duration: 3s")


def baseline_of(runs: Sequence[Measured], figures: Sequence[Figure]) -> Baseline:
    """A baseline of these runs, its provenance left out."""
    return Baseline("small", "", "", "", "", "", tuple(figure.text for figure in figures), tuple(runs))


def runs_of(scenario: Scenario, figures: tuple[Figure, ...], first_seed: int, count: int) -> list[Measured]:
    """So many runs from a seed on."""
    return [perform(task) for task in tasks_of(scenario, figures, tuple(range(first_seed, first_seed + count)))]


ALL_MODES = ("userspace", "iptables/legacy", "iptables/nft", "ipvs/rr", "nftables")


def golden(modes: Sequence[str] = ALL_MODES) -> Iterator[str]:
    """Every cost entry that a small scenario uses in each mode, one tenth higher, one at a time: does the fingerprint change?

    An entry is used if that changes anything, or three times its value does.
    """
    tried = caught = 0
    missed: list[str] = []
    for mode in modes:
        name, _, detail = mode.partition("/")
        proxy = {"mode": name} | ({"scheduler" if name == "ipvs" else "backend": detail} if detail else {})
        scenario = svcsim.loads(BOTH, {"kubernetes.proxy": proxy})
        profile = scenario.calibration.load()
        key = costs_of(profile, scenario.kubernetes.mode, scenario.kubernetes.proxy.backend).mode_key
        before = _fingerprint(scenario)
        for entry in profile.entries_of(key):
            path = next(path for path, one in profile.entries.items() if one is entry)
            if not entry.value:
                continue
            more = math.ceil(entry.value * 1.1) if path in WHOLE_NUMBERS else entry.value * 1.1
            if _fingerprint(_with_cost(scenario, path, more)) != before:
                tried, caught = tried + 1, caught + 1
            elif _fingerprint(_with_cost(scenario, path, entry.value * 3)) != before:
                tried += 1
                missed.append(f"{mode} {path}")
    yield f"golden: of {tried} costs that were used, one tenth higher, {caught} changed the fingerprint"
    yield from (f"  missed: {each}" for each in missed)


def _with_cost(scenario: Scenario, path: str, value: float) -> Scenario:
    proxy = scenario.origin.data["kubernetes"]["proxy"]
    return svcsim.loads(BOTH, {"kubernetes.proxy": proxy, "calibration.overrides": {path: value}})


def _fingerprint(scenario: Scenario) -> str:
    return svcsim.run_one(scenario).fingerprint


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
