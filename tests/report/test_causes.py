"""Why requests were slow or failed: which ones are told, and that the reasons are those of the run."""

from __future__ import annotations

import pytest

from svcsim.engine.journal import Happening, Journal
from svcsim.errors import UsageError
from svcsim.report.causes import Explanation, slowest
from svcsim.report.history import History
from svcsim.results.comparison import Comparison
from svcsim.results.records import PARTS, Flag, Outcome, RecordWriter
from svcsim.results.result import Result
from svcsim.results.selection import Names
from svcsim.units import MS, S
from tests.results.synthetic import failover, result

POD, OTHER = "default/web-a", "default/web-b"


def journal() -> Journal:
    """Pod web-a is killed at 10 s, reported at 11 s, out of the endpoints at 12 s, n1 synced at 13 s; web-a is back at 20 s."""
    told = Journal()
    told.add(10 * S, Happening.FAULT_BEGIN, "web-a killed", index=0, pods=(POD,), nodes=())
    told.add(10 * S, Happening.CONTAINER_EXITED, POD, code=137)
    told.add(11 * S, Happening.POD_NOT_READY, POD, reason="ContainersNotReady")
    told.add(12 * S, Happening.ENDPOINTS_UPDATED, "default/web", object="EndpointSlice", ready=1, total=2)
    told.add(13 * S, Happening.PROXY_SYNCED, "n1", services=("default/web",), began_ns=12 * S + 1)
    told.add(20 * S, Happening.CONTAINER_STARTED, POD)
    told.add(21 * S, Happening.POD_READY, POD)
    return told


def run_of(rows: list[dict[str, int]], written: Journal | None = None, label: str = "iptables") -> Result:
    """A run with a hundred ordinary requests to web-b, and those rows."""
    writer = RecordWriter()
    ordinary = [{"start_ns": index * 100 * MS, "service_ns": 2 * MS, "connect_ns": MS, "endpoint": 1} for index in range(100)]
    for sequence, row in enumerate([*ordinary, *rows]):
        parts = {part: row.get(part, 0) for part in PARTS}
        writer.row(
            workload=0, sequence=sequence, start_ns=row["start_ns"], latency_ns=sum(parts.values()), **parts,
            outcome=row.get("outcome", 0), attempts=row.get("attempts", 1), endpoint=row.get("endpoint", -1), client_node=0,
            server_node=1 if row.get("endpoint", -1) >= 0 else -1, rules=5, flags=row.get("flags", 1),
        )
    names = Names(("load",), (POD, OTHER), ("n1", "n2"), ((0, 1),))
    return Result(label, writer.columns(), written or journal(), names, 30 * S)


def why(row: dict[str, int]) -> Explanation:
    return slowest(Comparison([run_of([row])]), 1)[0]


@pytest.mark.parametrize(
    ("at_s", "words"),
    [
        (10.5, "nobody knew: it was reported not ready at 11.000 s"),
        (11.5, "stood among the endpoints until 12.000 s"),
        (12.5, "out of the endpoints at 12.000 s, but kube-proxy on n1 had not synced until 13.000 s"),
        (14.0, "n1's rules no longer led there"),
    ],
)
def test_how_far_the_control_plane_had_come_is_told(at_s: float, words: str) -> None:
    refused = int(Outcome.REFUSED)
    told = " ".join(why({"start_ns": round(at_s * S), "connect_ns": 300 * MS, "outcome": refused}).reasons)
    assert words in told
    assert f"{POD} was dead since 10.000 s (its container exited; fault: web-a killed)" in told
    assert OTHER not in told


def test_before_the_fault_and_after_the_pod_is_back_nobody_is_blamed() -> None:
    for at_s in (5, 25):
        told = why({"start_ns": at_s * S, "connect_ns": 300 * MS, "outcome": int(Outcome.REFUSED)}).reasons
        assert told[0] == "The connection was refused: nothing listened where it was sent, or a rule rejected it."
        assert "dead" not in " ".join(told)


@pytest.mark.parametrize(("connect_s", "words"), [(1.001, "once"), (2.5, "twice"), (3.2, "3 times")])
def test_the_number_of_syns_follows_from_the_time_of_the_handshake(connect_s: float, words: str) -> None:
    flags = int(Flag.NEW_CONNECTION | Flag.RETRANSMITTED)
    row = {"start_ns": 25 * S, "connect_ns": round(connect_s * S), "endpoint": 1, "flags": flags}
    assert f"the SYN was sent again {words}." in why(row).reasons[0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"dns_ns": 5 * S + MS}, "asked again after 5 s, once"),
        ({"queue_ns": S}, "waited 1 s in the server's queue"),
        ({"service_ns": S}, "The service itself took 1 s, 500.0 times the median."),
        ({"wait_ns": S}, "waited 1 s for a free connection"),
        ({"retry_ns": S, "attempts": 3}, "2 attempts before the last one failed"),
        ({"response_ns": S}, "Answer on its way for 1 s"),
    ],
)
def test_the_part_that_took_the_time_is_named(parts: dict[str, int], words: str) -> None:
    assert words in why({"start_ns": 25 * S, "endpoint": 1, **parts}).reasons[0]


def test_an_ordinary_request_has_no_reason() -> None:
    assert slowest(Comparison([run_of([])]), 1)[0].reasons == ("Nothing unusual: its parts are those of many others.",)


def test_a_queue_says_how_many_stood_before() -> None:
    """Two requests are with the endpoint when a third arrives."""
    busy = [{"start_ns": 25 * S, "service_ns": 2 * S, "endpoint": 1} for _ in range(2)]
    last = {"start_ns": 25 * S + MS, "queue_ns": 2 * S, "service_ns": MS, "endpoint": 1}
    assert "behind 2 requests of its endpoint" in slowest(Comparison([run_of([*busy, last])]), 1)[0].reasons[0]


def test_the_slowest_come_first_and_parts_sum_to_the_latency() -> None:
    comparison = Comparison(failover(rate_per_s=50))
    found = slowest(comparison, 20)
    assert [each.latency_ns for each in found] == sorted((each.latency_ns for each in found), reverse=True)
    assert all(sum(each.parts.values()) == each.latency_ns for each in found)
    longest = max(int(run.measured.requests.latency_ns.max()) for run in comparison.results)
    assert found[0].latency_ns == longest


def test_requests_can_be_narrowed_to_a_mode_a_workload_and_an_outcome() -> None:
    comparison = Comparison(failover(rate_per_s=50))
    assert {each.mode for each in slowest(comparison, 9, mode="ipvs")} <= {"ipvs/rr", "ipvs/lc"}
    assert all(each.outcome is Outcome.OK for each in slowest(comparison, 9, failed=False))
    assert all(each.outcome is not Outcome.OK for each in slowest(comparison, 9, failed=True))
    with pytest.raises(UsageError, match="no workload 'lod'"):
        slowest(Comparison([run_of([])]), 1, workload="lod")
    kinds = [(each.mode, each.outcome) for each in slowest(comparison, 100, one_of_a_kind=True)]
    assert len(kinds) == len(set(kinds)) > len(comparison)


def test_history_knows_who_was_dead_behind_and_where() -> None:
    past = History(run_of([{"start_ns": 5 * S, "service_ns": MS, "endpoint": 0}]))
    assert past.node_of == {POD: "n2", OTHER: "n2"}
    assert [(span.start_ns, span.end_ns) for span in past.pod_dead(POD)] == [(10 * S, 20 * S)]
    assert [(span.start_ns, span.end_ns) for span in past.pod_unready(POD)] == [(11 * S, 21 * S)]
    assert [(span.start_ns, span.end_ns) for span in past.behind("n1")] == [(12 * S, 13 * S)]
    assert past.troubles[0].span.end_ns == 21 * S


def test_pods_of_a_node_without_power_are_dead_until_their_containers_start() -> None:
    told = Journal()
    told.add(5 * S, Happening.NODE_DOWN, "n2")
    told.add(9 * S, Happening.NODE_UP, "n2")
    told.add(10 * S, Happening.CONTAINER_STARTED, OTHER)
    past = History(run_of([], told))
    assert [(span.start_ns, span.end_ns, span.why) for span in past.pod_dead(OTHER)] == [(5 * S, 10 * S, "n2 was down")]


def test_a_run_without_requests_has_nothing_to_explain() -> None:
    assert slowest(Comparison([result(rate_per_s=0)]), 5) == []


def test_a_node_is_behind_from_the_first_change_until_the_last_is_programmed() -> None:
    told = Journal()
    for at_s in range(1000):
        told.add(at_s * MS, Happening.ENDPOINTS_UPDATED, f"default/svc-{at_s % 7}", object="EndpointSlice")
    told.add(2 * S, Happening.PROXY_SYNCED, "n1", services=tuple(f"default/svc-{each}" for each in range(7)), began_ns=S)
    told.add(3 * S, Happening.ENDPOINTS_UPDATED, "default/svc-0", object="EndpointSlice")
    spans = History(run_of([], told)).behind("n1")
    assert [(span.start_ns, span.end_ns) for span in spans] == [(0, 2 * S), (3 * S, None)]
