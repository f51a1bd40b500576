"""What a run prints: 100 columns, no escape sequences where nobody wants them, nothing heavy imported."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from svcsim.engine.journal import Happening, Journal
from svcsim.report.terminal import WIDTH, Ink, Scene, footer, header, ink_for, printable, report, visible
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Expectation, evaluate
from svcsim.results.records import Outcome, RecordWriter
from svcsim.results.result import Result
from svcsim.results.selection import Names
from svcsim.units import MS, S
from tests.results.synthetic import KILL, Fault, failover, relabelled, result

SCENE = Scene("failover", 3, 6, 1, 210 * S, 1, "linux-6.18-measured", unmeasured_costs=4)
REASONS = tuple((outcome, 1.0) for outcome in Outcome if outcome not in {Outcome.OK, Outcome.CLIENT_GONE})
WORST = Fault("everything at once, with a text that goes on and on until it does not fit a line " * 2, 50, lasts_s=20,
              detected_s=None, endpoints_s=None, outcomes=REASONS)

CASES = {
    "five modes": lambda: failover(rate_per_s=100),
    "one calm run": lambda: [result(rate_per_s=50, faults=())],
    "replications": lambda: failover(("iptables", "userspace"), replications=3, rate_per_s=50),
    "every reason": lambda: failover(rate_per_s=100, faults=[WORST]),
    "long labels": lambda: [relabelled(result(rate_per_s=50), f"kubernetes.proxy.{n}.minSyncPeriod=10s") for n in range(14)],
}


@pytest.mark.parametrize("case", CASES)
def test_no_line_is_wider_than_a_hundred_columns(case: str) -> None:
    text = report(Comparison(CASES[case]()))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "\x1b" not in text
    assert "nan" not in text


def test_emphasis_changes_no_character_that_is_seen() -> None:
    comparison = Comparison(failover(("iptables",), rate_per_s=50))
    verdicts = evaluate([Expectation("success", low=1.0)], comparison)
    emphasised = report(comparison, verdicts, Ink(on=True))
    assert "\x1b[1m" in emphasised
    assert visible(emphasised) == report(comparison, verdicts)


def test_the_table_says_what_the_results_say() -> None:
    comparison = Comparison(failover(("iptables", "nftables"), rate_per_s=100))
    lines = report(comparison).splitlines()
    assert lines[0].split() == ["mode", "requests", "succeeded", "p50", "p90", "p99", "p99.9", "max", "proxy", "CPU",
                                "busiest/mean"]
    assert lines[1].startswith("iptables")
    assert f"{len(comparison['iptables'].measured):,}" in lines[1]
    assert lines[2].startswith("nftables")


def test_labels_that_are_shortened_still_tell_variants_apart() -> None:
    runs = [relabelled(result(rate_per_s=50), f"kubernetes.proxy.minSyncPeriod=10s/workers={n}/duration=20s") for n in (2, 4, 8)]
    lines = report(Comparison(runs)).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["workers=2", "workers=4", "workers=8"]


def test_several_workloads_have_a_line_each_and_mode() -> None:
    writer = RecordWriter()
    for sequence in range(20):
        outcome = Outcome.REFUSED if sequence in (15, 17, 19) else Outcome.OK
        writer.row(sequence % 2, sequence, sequence * S, MS, 0, 0, 0, MS, 0, 0, 0, 0, outcome, 1, 0, 0, 0, 1, 0)
    names = Names(("reads", "writes"), ("web-0",), ("a",))
    runs = [Result(mode, writer.columns(), Journal(), names, 100 * S) for mode in ("iptables", "nftables")]
    lines = report(Comparison(runs)).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("workload"))
    words = [line.split() for line in lines[at + 1 : at + 5]]
    assert words[0][:4] == ["reads", "iptables", "10", "100%"]
    assert words[1][:3] == ["nftables", "10", "100%"]
    assert words[2][:4] == ["writes", "iptables", "10", "70.00%"]
    assert "3 refused" in lines[at + 3]


def test_the_anatomy_of_a_fault_is_told_a_line_a_mode() -> None:
    comparison = Comparison(failover(("userspace", "iptables"), rate_per_s=400))
    text = report(comparison)
    kill, _ = comparison["iptables"].runs[0].faults
    block = text[text.index("30 s  deployment/web[1] killed") : text.index("60 s  node/worker-2 down")]
    iptables = block[block.index("iptables") :]
    assert "+1 s" in iptables
    assert "+1.1 s" in iptables
    assert "+1.2 s … +2.1 s" in iptables
    assert f"{kill.failures} ({kill.reasons[Outcome.REFUSED]} refused" in " ".join(iptables.split())
    assert "dials retried" in " ".join(block.split())


def test_a_step_that_was_never_reached_is_a_dash() -> None:
    unnoticed = replace(KILL, detected_s=None, endpoints_s=None, lasts_s=3.0)
    lines = report(Comparison([result(rate_per_s=50, faults=[unnoticed])])).splitlines()
    line = next(line for line in lines if line.startswith("  iptables"))
    assert line.split()[1:4] == ["–", "–", "–"]


def test_intervals_appear_with_replications_only() -> None:
    assert "±" not in report(Comparison(failover(("iptables",), rate_per_s=50)))
    text = report(Comparison(failover(("iptables",), replications=3, rate_per_s=50)))
    assert "mean ± 95%" in text
    assert "failed a run (why)" in text


def test_expectations_that_fail_are_told_with_value_and_replay() -> None:
    comparison = Comparison(failover(("userspace", "iptables"), rate_per_s=100))
    verdicts = evaluate([Expectation("latency.p99", high=20 * MS), Expectation("requests", low=1)], comparison)
    text = report(comparison, verdicts)
    assert "expect  1 of 2 hold" in text
    assert "fails  latency.p99 below 20 ms: it is" in text
    assert "replay with: svcsim run failover.yaml --mode userspace --seed 1" in text
    assert "--mode iptables" not in text


def test_requests_that_were_never_sent_are_told_also_where_none_failed() -> None:
    run = result(rate_per_s=50, faults=())
    run.requests.outcome[-7:] = Outcome.CLIENT_GONE
    assert report(Comparison([run])).endswith("7 requests were never sent: their client was gone")


def test_a_verdict_on_several_replications_is_replayed_with_all_of_them() -> None:
    runs = failover(("userspace",), replications=3, rate_per_s=50)
    for run in runs:
        run.provenance = replace(run.provenance, replay=f"svcsim run f.yaml --seed {run.replication} --replications 1")
    comparison = Comparison(runs)
    lines = report(comparison, evaluate([Expectation("success", low=1.0)], comparison)).splitlines()
    assert lines[-1] == f"  replay with: svcsim run f.yaml --seed {runs[0].replication} --replications 3"


def test_a_note_names_the_modes_that_it_is_about_unless_all_are() -> None:
    runs = failover(("iptables", "ipvs/rr"), rate_per_s=50, faults=())
    runs[1].journal.add(0, Happening.NOTE, "kube-proxy fell back to iptables")
    for run in runs:
        run.journal.add(0, Happening.CONNTRACK_FULL, "worker-1")
    text = report(Comparison(runs))
    assert "note  ipvs/rr: kube-proxy fell back to iptables" in text
    assert "note  conntrack table full on worker-1" in text


def test_the_header_says_what_is_simulated() -> None:
    assert header(SCENE).splitlines()[0] == (
        "failover   3 nodes · 6 pods · 1 Service · 210 s · seed 1 · costs linux-6.18-measured"
    )
    assert "4 of the costs used" in header(SCENE)
    wide = header(replace(SCENE, scenario="a-scenario-with-a-long-name", profile="my-own-profile-of-that-machine" * 2))
    assert max(map(len, wide.splitlines())) <= WIDTH + 20
    assert footer(Path("runs/failover-1")) == "results in runs/failover-1"
    assert footer(None) == ""


def test_a_long_name_stands_above_the_facts() -> None:
    name = "the-failover-of-everything-in-the-cluster-that-pages-somebody-when-it-fails-and-its-second-cousin-as-well"
    lines = header(replace(SCENE, scenario=name)).splitlines()
    assert lines[0].startswith("the-failover-of-everything")
    assert lines[1].startswith("   3 nodes")
    assert max(map(len, lines)) <= WIDTH


def test_a_stream_that_is_no_terminal_gets_no_emphasis(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not ink_for(io.StringIO()).on
    assert ink_for(Terminal()).on
    monkeypatch.setenv("NO_COLOR", "")
    assert not ink_for(Terminal()).on


def test_signs_that_the_encoding_lacks_are_replaced() -> None:
    ascii_stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert printable("p50 14.2 µs ± 3 · –", ascii_stream) == "p50 14.2 us +/- 3 | -"
    assert printable("µ", io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) == "µ"


def test_printing_results_imports_neither_matplotlib_nor_scipy_nor_rich() -> None:
    script = """
import sys
from svcsim.report.terminal import report
from svcsim.report.progress import Progress
from svcsim.results.folder import write
heavy = {"matplotlib", "scipy", "rich", "pandas", "pyarrow", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_gets_lines_that_fit_and_all_columns(width: int) -> None:
    narrow = Ink(width=width)
    text = report(Comparison(failover(rate_per_s=100)), ink=narrow)
    assert max(len(line) for line in text.splitlines()) <= width
    for heading in ("requests", "succeeded", "p50", "p99.9", "proxy CPU", "busiest/mean", "not ready", "last bad"):
        assert heading in text, heading
    assert max(len(line) for line in header(SCENE, narrow).splitlines()) <= width


def test_a_terminal_tells_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", "1")
    for columns, width in (("60", 60), ("200", 100), ("5", 40)):
        monkeypatch.setenv("COLUMNS", columns)
        assert ink_for(Terminal()) == Ink(on=False, width=width)
    assert ink_for(io.StringIO()).width == 100
