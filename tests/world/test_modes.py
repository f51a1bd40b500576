"""Where the proxy modes differ: schedulers of IPVS, graceful termination, session affinity, round robin."""

import pytest

import svcsim
import svcsim.world
from svcsim.engine.journal import Happening
from svcsim.results.records import Outcome
from svcsim.units import S
from tests.faults.test_pods import TCP_PROBE, with_pre_stop
from tests.world.small import ALL_MODES, KERNEL_MODES, SMALL, see, small

SLOW = {"at": "2s", "slow": "deployment/web[1]", "factor": 100}
WITH_LONE_CLIENT = SMALL.replace("workloads:\n", """  - apiVersion: v1
    kind: Pod
    metadata: {name: lone}
    spec: {containers: [{name: client, image: example/client:1}]}
workloads:
""")
AFFINITY = {"manifests[service/web].spec.sessionAffinity": "ClientIP"}


def share_of_slow(mode):
    seen = see(SLOW, mode=mode, run__duration="12s", workloads__0__arrivals="200/s", workloads__0__timeout="5s")
    [pod] = seen.pods_of_fault()
    answered = seen.answered(3.0, 11.0)
    return answered[pod] / answered.total()


def test_round_robin_goes_on_giving_a_slow_pod_its_third_and_least_connection_does_not():
    assert share_of_slow("ipvs/rr") == pytest.approx(1 / 3, abs=0.01)
    assert share_of_slow("iptables") == pytest.approx(1 / 3, abs=0.05)
    for scheduler in ("lc", "sed", "nq"):
        assert share_of_slow(f"ipvs/{scheduler}") < 0.2, scheduler


def test_least_connection_avoids_a_hung_pod_whose_connections_pile_up():
    failed = {}
    for mode in ("ipvs/rr", "ipvs/lc"):
        seen = see({"at": "2s", "hang": "deployment/web[1]"}, mode=mode, run__duration="10s", workloads__0__timeout="8s",
                   workloads__0__arrivals="100/s", **TCP_PROBE)
        failed[mode] = seen.failed(3.0, 10.0) / len(seen.between(3.0, 10.0))
    assert failed["ipvs/rr"] == pytest.approx(1 / 3, abs=0.05)
    assert failed["ipvs/lc"] < 0.1


def pods_by_client(seen, start=0.0, end=1e6):
    """For each client's node the pods that answered it."""
    requests = seen.between(start, end).requests
    found = {}
    for node, endpoint in zip(requests.client_node.tolist(), requests.endpoint.tolist(), strict=True):
        if endpoint >= 0:
            found.setdefault(node, set()).add(seen.result.names.endpoints[endpoint])
    return found


def test_source_hashing_keeps_a_client_with_its_pod():
    by_client = pods_by_client(see(mode="ipvs/sh", run__duration="4s"))
    assert all(len(pods) == 1 for pods in by_client.values())
    assert len(set.union(*by_client.values())) > 1


def test_destination_hashing_sends_all_of_a_service_to_one_pod():
    by_client = pods_by_client(see(mode="ipvs/dh", run__duration="4s"))
    assert all(len(pods) == 1 for pods in by_client.values())


@pytest.mark.parametrize("mode", ["userspace", "ipvs/rr"])
def test_round_robin_is_even_on_each_node(mode):
    seen = see(mode=mode, run__duration="10s")
    requests = seen.result.requests
    for node in range(3):
        counts = [int(((requests.client_node == node) & (requests.endpoint == e)).sum()) for e in set(requests.endpoint.tolist())]
        assert max(counts) - min(counts) <= 1, counts


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_random_choice_is_even_on_average_only(mode):
    answered = see(mode=mode, run__duration="30s").answered()
    assert all(count == pytest.approx(1000, rel=0.15) for count in answered.values())
    assert max(answered.values()) - min(answered.values()) > 3


# ---- graceful termination ------------------------------------------------------------------------------------------------


def test_ipvs_keeps_a_terminating_pod_at_weight_zero_for_its_connections():
    world = svcsim.world.build(
        small({"at": "3s", "delete": "deployment/web[1]"}, mode="ipvs/rr", run__duration="20s",
              workloads__0__connections="keepalive", servers__0__serviceTime={"constant": "60ms"}, **with_pre_stop(6))
    )
    proxiers = [world.node(f"worker-{i}").proxy.proxier for i in (1, 2, 3)]
    world.advance(6 * S)
    assert [len(proxier.terminating) for proxier in proxiers] == [1, 1, 1]
    world.clock.run(150 * S)  # looked at once a minute, when the last connection has ended
    assert [len(proxier.terminating) for proxier in proxiers] == [0, 0, 0]


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_kept_connections_stay_with_a_pod_that_left_the_endpoints_until_it_ends(mode):
    seen = see({"at": "3s", "delete": "deployment/web[1]"}, mode=mode, run__duration="16s", workloads__0__connections="keepalive",
               workloads__0__arrivals={"constant": "60/s"}, servers__0__serviceTime={"constant": "60ms"}, **with_pre_stop(6))
    [pod] = seen.pods_of_fault()
    assert seen.answered(4.5, 8.9)[pod] > 20
    assert seen.answered(9.5).get(pod, 0) == 0
    assert seen.failed() == 0


# ---- session affinity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_with_client_ip_affinity_each_client_stays_with_one_pod(mode):
    seen = see(mode=mode, run__duration="10s", **AFFINITY)
    assert seen.failed() == 0
    assert all(len(pods) == 1 for pods in pods_by_client(seen).values())
    assert any(len(pods) > 1 for pods in pods_by_client(see(mode=mode, run__duration="10s")).values())


@pytest.mark.parametrize("mode", ALL_MODES)
def test_affinity_ends_with_the_pod_and_begins_anew_with_another(mode):
    seen = see({"at": "4s", "delete": "deployment/web[0]"}, {"at": "4s", "delete": "deployment/web[1]"}, mode=mode,
               run__duration="12s", **AFFINITY, **with_pre_stop(2))
    assert seen.failed() == 0
    gone = {*seen.pods_of_fault(0), *seen.pods_of_fault(1)}
    before, after = pods_by_client(seen, 0.0, 4.0), pods_by_client(seen, 8.0)
    assert gone & set.union(*before.values())
    assert not gone & set.union(*after.values())
    assert all(len(pods) == 1 for pods in after.values())


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_affinity_is_forgotten_after_its_time_out_without_a_connection(mode):
    sticky = {**AFFINITY, "manifests[service/web].spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 3}}}

    def answered(rate, duration):
        return see(mode=mode, text=WITH_LONE_CLIENT, run__duration=duration, workloads__0__arrivals={"constant": rate},
                   workloads__0__from="pod/lone", **sticky).answered()

    assert len(answered("2/s", "20s")) == 1
    # IPVS holds a template for as long as any entry that came from it, and one in TIME_WAIT lives 120 s.
    seldom = answered("0.005/s", "3000s") if mode == "ipvs/rr" else answered("0.2/s", "90s")
    assert len(seldom) > 1


# ---- no endpoints ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_service_without_endpoints_refuses_as_often_as_icmp_may_be_sent(mode):
    """Six at once and then one a second to each client; others wait for a retransmission, and time out here."""
    seen = see({"at": "1s", "scale": "deployment/web", "replicas": 0}, mode=mode, run__duration="12s",
               workloads__0__arrivals={"constant": "60/s"}, workloads__0__timeout="900ms")
    outcomes = seen.outcomes(4.0, 11.0)
    assert set(outcomes) == {Outcome.REFUSED, Outcome.CONNECT_TIMEOUT}
    assert outcomes[Outcome.REFUSED] == pytest.approx(3 * 7, abs=6)


def test_in_userspace_mode_a_service_without_endpoints_accepts_and_resets():
    seen = see({"at": "1s", "scale": "deployment/web", "replicas": 0}, mode="userspace", run__duration="8s")
    assert set(seen.outcomes(4.0, 7.0)) == {Outcome.RESET}
    assert seen.times(Happening.POD_REMOVED)


# ---- what the kernel keeps -----------------------------------------------------------------------------------------------


def test_ipvs_serves_on_while_kube_proxy_starts_even_where_no_packet_has_asked_since_its_last_sync():
    seen = see({"at": "4s", "stopProxy": "node/*", "for": "500ms"}, mode="ipvs/rr", run__duration="10s",
               workloads__0__arrivals={"constant": "2/s"}, services={"count": 5, "churn": "20/s"})
    assert seen.failed() == 0
