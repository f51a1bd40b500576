"""A port that a Service does not have, and an address that no Service has: who answers (row e'' of the measurements)."""

import pytest

from svcsim.results.records import Outcome
from svcsim.units import MS
from tests.world.small import see

SENT = {"workloads__0__arrivals": {"constant": "2/s"}, "run__duration": "4s", "manifests__0__spec__clusterIP": "10.96.0.50"}
WRONG_PORT, UNALLOCATED = "http://10.96.0.50:81", "http://10.96.0.99:80"


@pytest.mark.parametrize(
    ("mode", "target", "outcome", "cause"),
    [
        ("userspace", WRONG_PORT, Outcome.CONNECT_TIMEOUT, "no such address"),
        ("iptables", WRONG_PORT, Outcome.CONNECT_TIMEOUT, "no such address"),
        ("nftables", WRONG_PORT, Outcome.REFUSED, "rejected"),
        ("userspace", UNALLOCATED, Outcome.CONNECT_TIMEOUT, "no such address"),
        ("iptables", UNALLOCATED, Outcome.CONNECT_TIMEOUT, "no such address"),
        ("ipvs/rr", UNALLOCATED, Outcome.CONNECT_TIMEOUT, "no such address"),
        ("nftables", UNALLOCATED, Outcome.CONNECT_TIMEOUT, "dropped by rule"),
    ],
)
def test_nftables_answers_for_them_and_other_modes_send_the_packet_on(mode, target, outcome, cause):
    result = see(mode=mode, workloads__0__to=target, **SENT).result
    assert set(result.requests.outcome) == {outcome}
    assert set(result.counters.packets_dropped) == {cause}
    assert bool(result.requests.latency_ns.max() < 2 * MS) == (outcome is Outcome.REFUSED)
