"""The anatomy of a fault: which entries of the journal and which requests are its own."""

from __future__ import annotations

from svcsim.engine.journal import Happening, Journal
from svcsim.results.anatomy import FaultAnatomy, anatomy
from svcsim.results.records import Flag, Outcome, RecordWriter
from svcsim.results.result import Result
from svcsim.results.selection import Names
from svcsim.units import MS, S
from tests.results.synthetic import failover

Request = tuple[float, float, Outcome]


def a_run(journal: Journal, requests: list[Request] | None = None, flags: int = 0) -> Result:
    """A run of requests given as (sent at s, took s, outcome)."""
    writer = RecordWriter()
    for sequence, (sent_s, took_s, outcome) in enumerate(requests or []):
        took = round(took_s * S)
        writer.row(0, sequence, round(sent_s * S), took, 0, 0, 0, took, 0, 0, 0, 0, outcome, 1, 0, 0, 0, 1, flags)
    return Result("iptables", writer.columns(), journal, Names(("load",), ("web-0",), ("a",)), 100 * S)


def killed(at_s: float = 30, pod: str = "default/web-1") -> Journal:
    journal = Journal()
    journal.add(round(at_s * S), Happening.FAULT_BEGIN, "deployment/web[1] killed", index=0, pods=(pod,))
    return journal


def only(journal: Journal, requests: list[Request] | None = None, flags: int = 0) -> FaultAnatomy:
    (found,) = anatomy(a_run(journal, requests, flags))
    return found


def test_a_run_without_faults_has_no_anatomy() -> None:
    assert anatomy(a_run(Journal(), [(1, 1, Outcome.RESET)])) == ()


def test_each_step_is_the_first_entry_that_qualifies() -> None:
    journal = killed()
    journal.add(round(30.5 * S), Happening.POD_NOT_READY, "default/other")
    journal.add(31 * S, Happening.POD_NOT_READY, "default/web-1")
    journal.add(round(31.1 * S), Happening.ENDPOINTS_UPDATED, "default/web", object="Endpoints", pods=("default/web-1",))
    journal.add(round(31.2 * S), Happening.ENDPOINTS_UPDATED, "default/db", object="EndpointSlice", pods=("default/db-0",))
    journal.add(round(31.3 * S), Happening.ENDPOINTS_UPDATED, "default/web", object="EndpointSlice", pods=("default/web-1",))
    for node, began_s, at_s, services in (
        ("a", 31.2, 31.35, ("default/web",)),  # began before the update, so it can't carry it
        ("a", 31.4, 31.5, ("default/db",)),
        ("a", 32.0, 32.1, ("default/web",)),
        ("b", 31.4, 31.6, ("default/db", "default/web")),
        ("b", 35.0, 35.1, ("default/web",)),
    ):
        began_ns = round(began_s * S)
        journal.add(round(at_s * S), Happening.PROXY_SYNCED, node, services=services, began_ns=began_ns, kind="partial")
    found = only(journal)
    assert found.detected_ns == 31 * S
    assert found.endpoints_ns == round(31.3 * S)
    assert found.first_synced_ns == round(31.6 * S)
    assert found.last_synced_ns == round(32.1 * S)
    assert (found.synced_nodes, found.nodes) == (2, 2)
    assert found.since(found.detected_ns) == S


def test_what_happens_to_a_pod_after_a_later_fault_is_that_faults() -> None:
    journal = killed(10)
    journal.add(20 * S, Happening.FAULT_BEGIN, "node/worker-1 down", index=1, pods=("default/web-1",), nodes=("worker-1",))
    journal.add(60 * S, Happening.NODE_NOT_READY, "worker-1")
    journal.add(60 * S, Happening.POD_NOT_READY, "default/web-1")
    first, second = anatomy(a_run(journal))
    assert (first.detected_ns, second.detected_ns) == (None, 60 * S)


def test_endpoints_alone_count_where_there_are_no_slices() -> None:
    journal = killed()
    journal.add(31 * S, Happening.POD_NOT_READY, "default/web-1")
    journal.add(32 * S, Happening.ENDPOINTS_UPDATED, "default/web", object="Endpoints")
    assert only(journal).endpoints_ns == 32 * S


def test_nothing_that_happened_before_the_fault_counts() -> None:
    journal = Journal()
    journal.add(29 * S, Happening.POD_NOT_READY, "default/web-1")
    journal.add(29 * S, Happening.ENDPOINTS_UPDATED, "default/web")
    journal.entries += killed().entries
    found = only(journal)
    assert (found.detected_ns, found.endpoints_ns, found.last_synced_ns) == (None, None, None)


def test_a_fault_that_nobody_notices_has_no_steps_but_may_cost_requests() -> None:
    journal = Journal()
    journal.add(10 * S, Happening.FAULT_BEGIN, "kube-proxy stopped", index=0)
    journal.add(11 * S, Happening.ENDPOINTS_UPDATED, "default/web")
    found = only(journal, [(12, 0.1, Outcome.REFUSED)])
    assert found.endpoints_ns is None
    assert found.failures == 1


def test_a_dead_node_is_not_waited_for() -> None:
    journal = Journal()
    journal.add(10 * S, Happening.FAULT_BEGIN, "node/b down", index=0, nodes=("b",), pods=("default/web-1",))
    journal.add(10 * S, Happening.NODE_DOWN, "b")
    journal.add(50 * S, Happening.NODE_NOT_READY, "b")
    journal.add(51 * S, Happening.ENDPOINTS_UPDATED, "default/web", object="EndpointSlice")
    journal.add(52 * S, Happening.PROXY_SYNCED, "a", services=("default/web",), began_ns=51 * S)
    journal.add(60 * S, Happening.FAULT_BEGIN, "pod killed", index=1, pods=("default/web-2",))
    journal.add(61 * S, Happening.POD_NOT_READY, "default/web-2")
    journal.add(62 * S, Happening.ENDPOINTS_UPDATED, "default/web", object="EndpointSlice", pods=("default/web-2",))
    journal.add(63 * S, Happening.PROXY_SYNCED, "a", services=("default/web",), began_ns=62 * S)
    journal.add(90 * S, Happening.NODE_UP, "b")
    journal.add(91 * S, Happening.PROXY_SYNCED, "b", services=("default/web",), began_ns=90 * S)
    down, kill = anatomy(a_run(journal))
    assert (down.last_synced_ns, down.synced_nodes, down.nodes) == (52 * S, 1, 1)
    assert (kill.last_synced_ns, kill.synced_nodes, kill.nodes) == (63 * S, 1, 1)


def test_the_end_of_a_fault_is_its_own() -> None:
    journal = killed()
    journal.add(40 * S, Happening.FAULT_BEGIN, "node/b down", index=1, nodes=("b",))
    journal.add(50 * S, Happening.FAULT_END, "node/b down", index=1)
    journal.add(60 * S, Happening.FAULT_END, "deployment/web[1] killed", index=0)
    first, second = anatomy(a_run(journal))
    assert (first.ended_ns, second.ended_ns) == (60 * S, 50 * S)


def test_ready_again_comes_after_the_detection() -> None:
    journal = killed()
    journal.add(31 * S, Happening.POD_READY, "default/web-1")
    journal.add(32 * S, Happening.POD_NOT_READY, "default/web-1")
    journal.add(35 * S, Happening.POD_READY, "default/web-1")
    assert only(journal).ready_again_ns == 35 * S


def test_the_outage_ends_with_the_intended_send_of_the_last_failure() -> None:
    found = only(killed(), [
        (20, 0.1, Outcome.RESET),  # over before the fault
        (29.9, 0.5, Outcome.RESET),  # in flight
        (31, 0.1, Outcome.REFUSED),
        (32, 1.0, Outcome.CONNECT_TIMEOUT),
        (33, 0.1, Outcome.OK),
        (34, 0.0, Outcome.CLIENT_GONE),
    ])
    assert found.last_bad_ns == 32 * S
    assert found.outage_ns == 2 * S
    assert found.reasons == {Outcome.REFUSED: 1, Outcome.RESET: 1, Outcome.CONNECT_TIMEOUT: 1}
    assert found.in_flight == 1
    assert found.requests == 5


def test_without_a_failure_there_is_no_outage() -> None:
    found = only(killed(), [(31, 0.1, Outcome.OK)], flags=int(Flag.REDIALED))
    assert (found.last_bad_ns, found.outage_ns, found.failures, found.unavailable_ns) == (None, 0, 0, 0)
    assert found.redialed == 1


def test_a_failure_in_flight_alone_is_no_outage() -> None:
    assert only(killed(), [(29.9, 0.5, Outcome.RESET)]).outage_ns == 0


def test_a_request_belongs_to_the_last_fault_that_had_begun_when_it_ended() -> None:
    journal = killed()
    journal.add(60 * S, Happening.FAULT_BEGIN, "second", index=1)
    first, second = anatomy(a_run(journal, [(31, 0.1, Outcome.REFUSED), (59.5, 1.0, Outcome.CONNECT_TIMEOUT)]))
    assert (first.failures, second.failures, second.in_flight) == (1, 1, 1)


def test_faults_of_one_instant_share_their_requests() -> None:
    journal = killed()
    journal.add(30 * S, Happening.FAULT_BEGIN, "second", index=1)
    first, second = anatomy(a_run(journal, [(31, 0.1, Outcome.REFUSED)]))
    assert (first.failures, second.failures) == (1, 1)


def test_unavailable_counts_tenths_of_a_second_without_a_success() -> None:
    found = only(killed(), [
        (30.01, 0.1, Outcome.REFUSED), (30.12, 0.1, Outcome.REFUSED), (30.15, 0.1, Outcome.OK), (30.25, 0.1, Outcome.REFUSED)
    ])
    assert found.unavailable_ns == 200 * MS


def test_the_failover_run_is_read_as_it_was_made() -> None:
    (run,) = failover(("iptables",))
    kill, down = run.faults
    assert [kill.since(time) for time in (kill.detected_ns, kill.endpoints_ns, kill.last_synced_ns)] == [
        1 * S, 1100 * MS, 2100 * MS
    ]
    assert down.ended_ns == 150 * S
    assert down.synced_nodes == 2
    assert 41 * S < down.outage_ns <= 41_300 * MS
