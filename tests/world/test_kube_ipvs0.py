"""kube-ipvs0 makes virtual addresses local: what no virtual server takes is answered by the client's own node."""

import pytest

from svcsim.results.records import Outcome
from svcsim.units import MS
from tests.world.small import see

VIP = {
    "workloads__0__arrivals": {"constant": "2/s"}, "workloads__0__to": "http://10.96.0.50:81", "run__duration": "6s",
    "manifests__0__spec__clusterIP": "10.96.0.50",
}


@pytest.mark.parametrize(("mode", "outcome"), [("ipvs/rr", Outcome.REFUSED), ("iptables", Outcome.CONNECT_TIMEOUT)])
def test_another_port_of_a_virtual_address_is_refused_at_once_in_ipvs_mode_only(mode, outcome):
    requests = see(mode=mode, **VIP).result.requests
    assert set(requests.outcome) == {outcome}
    assert bool(requests.latency_ns.max() < 2 * MS) == (outcome is Outcome.REFUSED)
