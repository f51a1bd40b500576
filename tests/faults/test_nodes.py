"""What faults do to nodes and to the network between them."""

import pytest

import svcsim.world
from svcsim.engine.journal import Happening
from svcsim.kube.api.pod import Pod
from svcsim.results.records import Outcome
from svcsim.units import S
from tests.world.small import ALL_MODES, KERNEL_MODES, see, small

DOWN = {"at": "5s", "down": "node/worker-2"}
SLOWLY = {"workloads__0__arrivals": {"constant": "30/s"}}


def kubernetes(version, mode="iptables"):
    return {"kubernetes": {"version": version, "proxy": {"mode": mode}}}


def test_a_dead_node_is_not_ready_when_its_grace_period_and_a_monitor_period_are_over():
    """40 s before 1.32, 50 s since, counted from its last lease, which is renewed each 10 s and looked at each 5 s."""
    for version, grace in (("1.30", 40), ("1.34", 50)):
        seen = see(DOWN, **kubernetes(version), **SLOWLY, run__duration="65s")
        noticed = seen.first(Happening.NODE_NOT_READY, "worker-2")
        assert 5 - 10 + grace <= noticed <= 5 + grace + 5.5, version
        [pod] = [name for name in seen.pods_of_fault() if "/web-" in name]
        assert seen.first(Happening.POD_NOT_READY, pod) == pytest.approx(noticed, abs=0.2)
        left = seen.first(Happening.ENDPOINTS_UPDATED, "default/web", object="EndpointSlice", ready=2)
        assert noticed < left < noticed + 0.5
        synced = seen.synced_after(left)
        assert seen.failed(7.0, noticed) > 0.2 * len(seen.between(7.0, noticed)), version
        assert seen.failed(synced) == 0, version


def test_clients_on_a_dead_node_send_nothing_and_count_in_no_success_rate():
    seen = see(DOWN, **SLOWLY, run__duration="12s")
    outcomes = seen.outcomes(5.01, 12.0)
    assert outcomes[Outcome.CLIENT_GONE] == pytest.approx(70, rel=0.3)
    window = seen.between(5.01, 12.0)
    assert window.successes + window.failures + outcomes[Outcome.CLIENT_GONE] == len(window)


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_the_dead_nodes_share_of_connections_times_out_in_silence_behind_a_router(mode):
    seen = see(DOWN, mode=mode, run__duration="12s", workloads__0__timeout="4s")
    lost = seen.outcomes(5.01, 8.0)
    assert set(lost) - {Outcome.CLIENT_GONE} == {Outcome.OK, Outcome.CONNECT_TIMEOUT}
    share = lost[Outcome.CONNECT_TIMEOUT] / (lost[Outcome.CONNECT_TIMEOUT] + lost[Outcome.OK])
    assert share == pytest.approx(1 / 3, abs=0.12)


def test_on_a_common_segment_a_dead_node_is_no_route_after_three_seconds():
    seen = see(DOWN, run__duration="12s", workloads__0__timeout="4s", cluster__network__segment="l2")
    lost = seen.outcomes(5.01, 8.0)
    assert lost[Outcome.NO_ROUTE] > 0
    requests = seen.between(5.01, 8.0).requests
    unreachable = requests.latency_ns[requests.outcome == Outcome.NO_ROUTE]
    assert 2.9 * S < unreachable.max() < 3.2 * S


def test_the_userspace_proxy_dials_on_after_250_ms_of_silence():
    seen = see(DOWN, mode="userspace", run__duration="15s", workloads__0__timeout="5s")
    requests = seen.between(5.01, 15.0).requests
    slow = requests.latency_ns[(requests.outcome == Outcome.OK) & (requests.latency_ns > 100_000_000)]
    assert len(slow) > 50
    assert 250_000_000 < slow.min() < 260_000_000
    # Whose turn it is changes while others dial, so a session can meet the dead endpoint again, after 500 ms, 1 s and 2 s more.
    given_up = requests.latency_ns[requests.outcome == Outcome.RESET]
    assert set(seen.outcomes(5.01)) <= {Outcome.OK, Outcome.RESET, Outcome.CLIENT_GONE}
    assert len(given_up) < 0.05 * len(requests)
    assert all(abs(latency / S - 3.75) < 0.01 for latency in given_up)


def test_a_node_comes_back_with_empty_tables_and_a_full_sync():
    scenario = small({"at": "2s", "down": "node/worker-2", "for": "3s"}, run__duration="30s",
                     kubernetes__timings={"nodeBoot": "4s"})
    world = svcsim.world.build(scenario)
    host = world.node("worker-2").host
    world.advance(1_900_000_000)
    assert host.conntrack.count(world.clock.now) > 0
    world.clock.run(8_999_000_000)
    assert not host.up
    world.clock.run(9_000_000_001)
    assert host.up
    assert host.conntrack.count(world.clock.now) == 0
    full = [
        entry for entry in _entries_until(world, 30 * S)
        if entry.kind is Happening.PROXY_SYNCED and entry.subject == "worker-2" and entry.at_ns > 5 * S
    ]
    assert full[0].detail["kind"] == "full"
    assert 9 * S < full[0].at_ns < 12 * S


def test_a_node_that_boots_is_silent():
    """Nothing answers before its network is there: no RST tells a client that nobody listens yet."""
    seen = see({"at": "2s", "down": "node/worker-2", "for": "3s"}, run__duration="12s", kubernetes__timings={"nodeBoot": "4s"},
               cluster__outside=[{"name": "laptop", "address": "203.0.113.9"}],
               **{"manifests[service/web].spec.type": "NodePort", "workloads[0].from": "outside/laptop",
                  "workloads[0].to": "nodePort://web:80?node=worker-2"})
    assert set(seen.outcomes(2.1, 7.9)) == {Outcome.CONNECT_TIMEOUT}
    assert Outcome.REFUSED in seen.outcomes(9.1, 10.9)  # until kube-proxy has written its rules


def test_power_that_goes_again_while_a_node_boots_ends_the_boot():
    seen = see({"at": "2s", "down": "node/worker-2", "for": "3s"}, {"at": "6s", "down": "node/worker-2", "for": "20s"},
               run__duration="40s", kubernetes__timings={"nodeBoot": "4s"}, **SLOWLY)
    assert seen.times(Happening.NODE_DOWN) == [2.0, 6.0]
    assert seen.times(Happening.NODE_UP) == [5.0, 26.0]
    assert seen.first(Happening.PROXY_STARTED, "worker-2") > 30.0


def test_what_starts_on_a_node_after_a_long_time_without_power_hears_of_changes_at_once():
    """Only a process that lived through an outage backs off before it watches again."""
    seen = see({"at": "2s", "down": "node/worker-2", "for": "36s"}, {"at": "60s", "delete": "deployment/web[0]", "grace": "1s"},
               run__duration="70s", kubernetes__timings={"nodeBoot": "4s", "nodeMonitorGrace": "15s"}, **SLOWLY)
    started = seen.first(Happening.PROXY_STARTED, "worker-2")
    assert started == pytest.approx(38 + 4 + 2, abs=0.2)
    heard = seen.first(Happening.PROXY_SYNCED, "worker-2", after=60.0)
    assert heard < 62.5


def _entries_until(world, at_ns):
    world.clock.run(at_ns)
    return world.journal.entries


@pytest.mark.parametrize("mode", ALL_MODES)
def test_after_a_nodes_return_the_world_is_as_before(mode):
    seen = see({"at": "3s", "down": "node/worker-2", "for": "60s"}, mode=mode, run__duration="110s",
               workloads__0__arrivals={"constant": "30/s"}, kubernetes__timings={"nodeBoot": "10s"})
    assert seen.times(Happening.NODE_DOWN) == [3.0]
    assert seen.times(Happening.NODE_UP) == [63.0]
    ready = seen.first(Happening.NODE_READY, "worker-2")
    assert 73.0 <= ready < 85.0
    late = seen.between(90.0, 110.0)
    assert late.failures == 0
    assert Outcome.CLIENT_GONE not in late.outcomes
    assert len(seen.answered(90.0)) == 3
    assert min(seen.answered(90.0).values()) > 120


def test_pods_of_a_node_that_comes_back_soon_are_started_anew_with_new_addresses_and_their_names_kept():
    scenario = small({"at": "2s", "down": "node/worker-2", "for": "3s"}, run__duration="40s",
                     kubernetes__timings={"nodeBoot": "4s"}, **SLOWLY)
    before = _addresses(svcsim.world.build(scenario))
    world = svcsim.world.build(scenario)
    world.advance(39 * S)
    after = _addresses(world)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert len(changed) == 2  # a web and a client pod
    assert all(world.store.get(Pod, name).spec.node_name == "worker-2" for name in changed)


def _addresses(world):
    return {pod.metadata.key: pod.status.pod_ip for pod in world.store.each(Pod)}


# ---- partition -------------------------------------------------------------------------------------------------------------


def test_a_cut_off_node_keeps_its_state_and_its_pods_run_on():
    seen = see({"at": "5s", "partition": "node/worker-2", "for": "20s"}, run__duration="40s", workloads__0__timeout="500ms")
    assert not seen.times(Happening.CONTAINER_EXITED)
    assert not seen.times(Happening.NODE_NOT_READY)  # 20 s are less than the grace period
    assert not seen.times(Happening.PROXY_STOPPED)
    requests = seen.between(6.0, 24.0).requests
    inside = requests.client_node == 1
    ok = requests.outcome == Outcome.OK
    # From within, only the pod beside the client is in reach; from outside all but that one.
    assert set(requests.server_node[inside & ok].tolist()) == {1}
    assert set(requests.server_node[~inside & ok].tolist()) == {0, 2}
    assert requests.failed.sum() > 100
    assert Outcome.CLIENT_GONE not in seen.outcomes()
    assert seen.failed(25.0) == 0


def test_a_connection_outlives_a_short_partition():
    seen = see({"at": "5s", "partition": "node/worker-2", "for": "1s"}, run__duration="12s", workloads__0__timeout="5s",
               workloads__0__connections="keepalive", workloads__0__arrivals={"constant": "20/s"})
    assert seen.failed() == 0
    assert seen.result.latency.max > 0.5 * S


def test_a_long_partition_takes_the_nodes_endpoints_away_and_gives_them_back():
    seen = see({"at": "5s", "partition": "node/worker-2", "for": "70s"}, run__duration="100s", **SLOWLY)
    noticed = seen.first(Happening.NODE_NOT_READY, "worker-2")
    assert 45 <= noticed <= 61
    left = seen.synced_after(noticed)
    requests = seen.between(left + 0.1, 74.0).requests
    outside = requests.select(requests.client_node != 1)
    assert outside.failed.sum() == 0
    assert seen.first(Happening.NODE_READY, "worker-2") < 90
    assert seen.failed(92.0) == 0
    assert len(seen.answered(92.0)) == 3
    assert not seen.times(Happening.CONTAINER_EXITED)


# ---- loss, delay -----------------------------------------------------------------------------------------------------------


def test_loss_on_a_nodes_links_delays_or_fails_what_crosses_them_and_nothing_else():
    seen = see({"at": "5s", "loss": 0.2, "on": "node/worker-2", "for": "10s"}, run__duration="20s", workloads__0__timeout="5s")
    assert seen.failed(0.0, 4.5) == seen.failed(16.0) == 0
    requests = seen.between(5.0, 15.0).requests
    crossing = (requests.client_node == 1) != (requests.server_node == 1)
    late = requests.latency_ns > 150_000_000  # a retransmission
    assert 0.2 < late[crossing].mean() < 0.9
    assert late[~crossing].sum() == 0
    assert seen.result.counters.packets_dropped["link loss"] > 100


def test_loss_between_two_ends_spares_all_other_links():
    seen = see({"at": "0s", "loss": "100%", "on": "node/worker-2", "to": "node/worker-3"}, run__duration="8s",
               workloads__0__timeout="900ms")
    requests = seen.between(0.0, 8.0).requests
    failed = requests.failed
    assert failed.sum() > 50
    assert set(requests.client_node[failed].tolist()) == {1, 2}
    ok = requests.select(requests.succeeded)
    assert not (((ok.client_node == 1) & (ok.server_node == 2)) | ((ok.client_node == 2) & (ok.server_node == 1))).any()


def test_delay_is_added_in_each_direction_for_as_long_as_it_lasts():
    seen = see({"at": "5s", "delay": "20ms", "on": "node/worker-2", "for": "5s"}, run__duration="15s")
    base = see(run__duration="15s")
    requests, before = seen.result.requests, base.result.requests
    extra = {}
    for columns, name in ((requests, "with"), (before, "without")):
        crossing = (columns.client_node == 1) != (columns.server_node == 1)
        extra[name] = columns.latency_ns[crossing & (columns.start_ns > 5.1 * S) & (columns.start_ns < 9.8 * S)]
    # Two round trips: the handshake's and the request's.
    assert (extra["with"].mean() - extra["without"].mean()) / 80e6 == pytest.approx(1.0, abs=0.01)
    assert seen.between(10.1, 15.0).latency.max < 10_000_000


def test_jitter_spreads_the_delay():
    seen = see({"at": "0s", "delay": "5ms", "jitter": "10ms", "on": "node/worker-2"}, run__duration="10s")
    requests = seen.result.requests
    crossing = requests.latency_ns[(requests.client_node == 1) != (requests.server_node == 1)]
    assert crossing.min() > 20_000_000
    assert crossing.std() > 3_000_000


def test_loss_towards_what_is_not_there_concerns_no_link():
    seen = see({"at": "1s", "loss": "100%", "on": "node/worker-2", "to": "outside/*"}, run__duration="4s")
    assert seen.failed() == 0
    assert any("no such links" in note for note in seen.notes())
    nothing = see({"at": "1s", "loss": "100%", "on": "outside/*"}, run__duration="4s")
    assert nothing.failed() == 0
    assert nothing.nodes_of_fault() == ()
    assert any("nothing that it could act on" in note for note in nothing.notes())
