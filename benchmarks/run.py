"""Measures svcsim and its peers: a table on the terminal, and JSON with `--json FILE`.

    python benchmarks/run.py [--repeats 5] [--only WORD] [--json FILE]

Every measurement runs in a fresh process, the cases of a group in turn, so that a slow minute of the machine meets all of them;
medians are given. Rates are requests a CPU second, and the same divided by the rate of bare SimPy timeouts in the same process,
which is what compares between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.measure import ONCE_BUILT, PEERS, SIMULATED  # noqa: E402
from benchmarks.service_path import RANDOM_PICK_MS, UNLOADED_MS  # noqa: E402

Figures = dict[str, float]
ONCE = ("records", "conntrack", "build")
STARTS = {
    "svcsim --help": ["--help"],
    "svcsim run --no-figures": ["run", str(ROOT / "benchmarks/scenarios/small.yaml"), "--no-figures", "--quiet"],
}
TARGETS: dict[str, tuple[str, float]] = {
    "keep-alive": ("per_s", 80_000), "new connection": ("per_s", 35_000), "records": ("megabytes_per_million", 150),
    "conntrack": ("bytes_per_entry", 500), "build": ("seconds", 10), "svcsim --help": ("seconds", 0.15),
    "svcsim run --no-figures": ("seconds", 0.8),
}


def measured(name: str) -> Figures:
    """One measurement in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", name], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def started(arguments: list[str]) -> Figures:
    """CPU seconds of a command of svcsim, from the start of Python to its end."""
    with tempfile.TemporaryDirectory() as folder:
        if arguments[0] == "run":
            arguments = [*arguments, "--out", str(Path(folder) / "run")]
        process = subprocess.Popen(
            [sys.executable, "-m", "svcsim", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"svcsim {' '.join(arguments)} ended with {process.returncode}")
    return {"seconds": usage.ru_utime + usage.ru_stime}


def median(runs: list[Figures]) -> Figures:
    """Median of each figure over repeats, and the best rate."""
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    if "per_s" in middle:
        middle["best_per_s"] = max(run["per_s"] for run in runs)
    return middle


def repeated(names: list[str], repeats: int) -> dict[str, Figures]:
    """Medians of cases that are measured in turn."""
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    for i in range(repeats):
        for name in names:
            print(f"\r{i + 1} of {repeats}: {name:40}", end="", file=sys.stderr, flush=True)
            runs[name].append(started(STARTS[name]) if name in STARTS else measured(name))
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return {name: median(found) for name, found in runs.items()}


def rates_table(title: str, found: dict[str, Figures], extra: dict[str, str]) -> str:
    """Requests a CPU second, a row a case."""
    lines = [title, f"  {'':34}{'requests/CPU s':>15}{'best':>10}{'of bare':>9}" + "".join(f"{label:>12}" for label in extra)]
    for name, figures in found.items():
        row = f"  {name:34}{figures['per_s']:>15,.0f}{figures['best_per_s']:>10,.0f}{figures['of_bare']:>9.4f}"
        lines.append(row + "".join(f"{figures[key]:>12.3f}" if key in figures else f"{'':>12}" for key in extra.values()))
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--only", default="", help="cases or groups (peers, svcsim, once built, memory, start) with this in their name"
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    groups = {
        "peers": [*PEERS, "svcsim, all of it"],
        "svcsim": [name for name in SIMULATED if name != "svcsim, all of it"],
        "once built": list(ONCE_BUILT),
        "memory": list(ONCE),
        "start": list(STARTS),
    }
    found: dict[str, Figures] = {}
    for group, names in groups.items():
        chosen = [name for name in names if options.only in group or options.only in name]
        if not chosen:
            continue
        part = repeated(chosen, 1 if group == "memory" else options.repeats)
        found |= part
        if group == "peers":
            title = f"The same queueing path; mean between {UNLOADED_MS:.2f} ms (idle) and {RANDOM_PICK_MS:.2f} ms (random pick)"
            print(rates_table(title, part, {"mean ms": "mean_ms"}), end="\n\n")
        elif group == "svcsim":
            print(rates_table("svcsim, full path, recording on", part, {
                "events/req": "events_per_request", "success": "success", "mean ms": "mean_ms", "p99 ms": "p99_ms",
            }), end="\n\n")
        elif group == "once built":
            print(rates_table("svcsim, running worlds (building left out)", part, {"build s": "build_seconds"}), end="\n\n")
        else:
            for name, figures in part.items():
                print(f"  {name:34}" + "  ".join(f"{key} {value:,.3g}" for key, value in figures.items()))
            print()
    for name, (key, target) in TARGETS.items():
        if name in found:
            value = found[name][key]
            reached = value >= target if key == "per_s" else value <= target
            print(f"  {'reached' if reached else 'MISSED ':8}{name:28}{key} {value:,.3g}, target {target:,.3g}")
    if {"10 Services, 1 change/s", "20,000 Services, 1 change/s"} <= found.keys():
        few, many = found["10 Services, 1 change/s"], found["20,000 Services, 1 change/s"]
        print(f"  20,000 Services against 10: {many['per_s'] / few['per_s']:.2f} of the rate once built, target 0.9")
    if options.json:
        about = {
            "python": platform.python_version(), "machine": platform.machine(), "repeats": options.repeats,
            **{name: metadata.version(name) for name in ("simpy", "numpy", "ciw", "salabim", "ns.py")},
        }
        options.json.write_text(json.dumps({"about": about, "cases": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
