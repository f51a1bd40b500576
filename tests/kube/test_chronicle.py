"""The journal names the pods that an update of endpoints changed."""

from __future__ import annotations

from svcsim.engine.journal import Happening
from tests.world.small import SMALL, see

CHURN = SMALL.replace("workloads:\n", "services:\n  - {count: 4, endpoints: 2, churn: 20/s}\nworkloads:\n", 1)
KILL = {"at": "2s", "kill": "deployment/web[1]"}


def test_an_update_names_the_pods_that_it_changes_and_no_others():
    seen = see(KILL, run__duration="8s")
    (pod,) = seen.pods_of_fault()
    updates = [
        entry for entry in seen.result.journal.entries
        if entry.kind is Happening.ENDPOINTS_UPDATED and entry.subject == "default/web"
    ]
    assert len(updates) >= 4  # out of the endpoints and back, in slice and Endpoints
    assert {entry.detail["pods"] for entry in updates} == {(pod,)}
    assert {entry.detail["object"] for entry in updates} == {"Endpoints", "EndpointSlice"}


def test_generated_endpoints_are_no_pods():
    seen = see(text=CHURN, run__duration="1s")
    updates = [entry for entry in seen.result.journal.entries if entry.kind is Happening.ENDPOINTS_UPDATED]
    assert len(updates) > 10
    assert {entry.detail["pods"] for entry in updates} == {()}


def test_what_others_endpoints_do_is_no_step_of_a_fault():
    calm, busy = (see(KILL, text=text, run__duration="8s").result.faults[0] for text in (SMALL, CHURN))
    assert calm.endpoints_ns is not None
    assert busy.endpoints_ns == calm.endpoints_ns
    assert busy.detected_ns == calm.detected_ns
    assert busy.endpoints_ns - busy.detected_ns > 1_000_000
    assert busy.last_synced_ns is not None
    assert busy.last_synced_ns >= busy.endpoints_ns
    assert busy.synced_nodes == busy.nodes == 3
