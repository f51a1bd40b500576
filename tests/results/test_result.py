"""A result: its measured window, its fingerprint, what a notebook shows."""

from __future__ import annotations

import pickle

from svcsim.engine.journal import Happening, Journal
from svcsim.results.comparison import Comparison
from svcsim.results.result import Result
from tests.results.synthetic import failover, relabelled, result


def small(**options: object) -> Result:
    return result("iptables", duration_s=20, rate_per_s=50, faults=(), **options)  # type: ignore[arg-type]


def test_figures_leave_the_warm_up_out_and_records_keep_it() -> None:
    run = small()
    starts = run.measured.requests.start_ns
    assert len(run.requests) == 1000
    assert starts.min() >= run.warmup_ns
    assert len(starts) == int((run.requests.start_ns >= run.warmup_ns).sum())


def test_a_window_of_ones_own_may_reach_into_the_warm_up() -> None:
    run = small()
    early = run.during("1s", "3s")
    assert 0 < len(early) < 200
    assert early.requests.start_ns.max() < 3_000_000_000
    assert len(run.during(None, None)) == 1000


def test_the_same_run_has_the_same_fingerprint_and_any_change_another() -> None:
    one, again, other_seed = small(), small(), small(seed=2)
    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != other_seed.fingerprint
    noted = relabelled(one, "iptables")
    noted.journal = Journal(list(one.journal.entries))
    noted.journal.add(5, Happening.NOTE, "something happened")
    assert noted.fingerprint != one.fingerprint


def test_the_fingerprint_does_not_depend_on_the_order_of_details() -> None:
    first, second = small(), small()
    first.journal.add(1, Happening.PROXY_SYNCED, "node", rules=1, kind="full")
    second.journal.add(1, Happening.PROXY_SYNCED, "node", kind="full", rules=1)
    assert first.fingerprint == second.fingerprint


def test_a_selection_has_the_fingerprint_of_a_copy_of_it() -> None:
    run = small()
    copied = pickle.loads(pickle.dumps(run))
    assert copied.fingerprint == run.fingerprint
    assert copied.latency.p99 == run.latency.p99


def test_a_notebook_shows_a_table_with_names_escaped() -> None:
    (run,) = failover(("iptables",), duration_s=10, rate_per_s=50)
    shown = relabelled(run, "<b>mine</b>")._repr_html_()
    assert "&lt;b&gt;mine" in shown
    assert "<b>" not in shown
    assert shown.count("<tr>") == 2


def test_what_a_prompt_shows_of_results_is_short_and_says_what_they_are() -> None:
    run = small()
    for shown in (run, run.measured, run.latency, run.requests):
        assert len(repr(shown)) < 120
        assert "requests" in repr(shown)
    assert repr(run).startswith(f"<iptables, seed 1: <{len(run.measured)} requests")
    pair = Comparison(failover(("iptables", "nftables"), duration_s=10, rate_per_s=50))
    assert [line.partition(":")[0] for line in repr(pair).splitlines()] == ["<iptables", "<nftables"]
    assert "<table>" in pair["nftables"]._repr_html_()
