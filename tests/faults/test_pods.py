"""What faults do to pods, seen from the requests and the journal."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.results.records import Flag, Outcome
from tests.world.small import ALL_MODES, KERNEL_MODES, see, small, with_pods

MS = 1e-3
TCP_PROBE = with_pods(containers=[
    {"name": "web", "image": "example/web:1", "ports": [{"name": "http", "containerPort": 8080}],
     "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 2}},
])


def with_liveness(**probe):
    return with_pods(containers=[
        {"name": "web", "image": "example/web:1", "ports": [{"name": "http", "containerPort": 8080}],
         "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 2, **probe}},
    ])


def with_pre_stop(seconds):
    return with_pods(containers=[
        {"name": "web", "image": "example/web:1", "ports": [{"name": "http", "containerPort": 8080}],
         "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 2},
         "lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}},
    ])


# ---- kill ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_connections_to_a_killed_pod_are_refused_until_every_proxy_knows(mode):
    seen = see({"at": "5s", "kill": "deployment/web[1]"}, mode=mode, workloads__0__arrivals={"constant": "400/s"},
               run__duration="10s")
    [pod] = seen.pods_of_fault()
    noticed = seen.first(Happening.POD_NOT_READY, pod)
    synced = seen.synced_after(noticed)
    failures = seen.failures_ns()
    assert 5.0 < noticed <= 6.1  # the kubelet lists its containers once a second
    assert set(seen.outcomes()) <= {Outcome.OK, Outcome.REFUSED, Outcome.RESET}
    assert failures[0] >= 5.0 - 2 * MS
    assert failures[-1] <= synced
    share = seen.failed(5.0, noticed) / len(seen.between(5.0, noticed))
    assert share == pytest.approx(1 / 3, abs=0.12)
    assert seen.failed(synced) == 0


def test_what_was_in_flight_on_a_killed_pod_is_reset_in_every_mode():
    for mode in ALL_MODES:
        seen = see({"at": "2s", "kill": "deployment/web[1]"}, mode=mode, run__duration="3s",
                   servers__0__serviceTime={"constant": "300ms"})
        in_flight = seen.outcomes(1.7, 2.0)
        assert 5 <= in_flight[Outcome.RESET] <= 15, mode
        assert set(in_flight) == {Outcome.OK, Outcome.RESET}


def test_the_userspace_proxy_dials_another_endpoint_when_a_killed_pod_refuses():
    seen = see({"at": "5s", "kill": "deployment/web[1]"}, mode="userspace", run__duration="7s", workloads__0__arrivals="800/s")
    [pod] = seen.pods_of_fault()
    noticed = seen.first(Happening.POD_NOT_READY, pod)
    assert seen.failed(5.01) == 0
    # Round robin over three of which one is dead: that one is next for every second connection.
    assert seen.flagged(Flag.REDIALED, 5.0, noticed) == pytest.approx(len(seen.between(5.0, noticed)) / 2, rel=0.1)
    assert seen.flagged(Flag.REDIALED, 0.0, 4.9) == 0


def test_the_first_restart_of_a_container_comes_at_once_and_the_next_ones_with_back_off():
    seen = see(
        *({"at": at, "kill": "deployment/web[1]"} for at in ("1s", "5s", "20s")),
        run__duration="45s", workloads__0__arrivals={"constant": "1/s"},
    )
    [pod] = seen.pods_of_fault()
    assert seen.times(Happening.CONTAINER_EXITED, pod, code=137) == [1.0, 5.0, 20.0]
    first, second, third = seen.times(Happening.CONTAINER_STARTED, pod)
    assert 1.0 < first < 2.5
    assert second == pytest.approx(15.3, abs=0.05)
    assert third == pytest.approx(40.3, abs=0.05)


def test_a_killed_pod_is_ready_again_when_a_probe_has_passed_and_serves_as_before():
    seen = see({"at": "5s", "kill": "deployment/web[1]"}, run__duration="15s")
    [pod] = seen.pods_of_fault()
    started = seen.first(Happening.CONTAINER_STARTED, pod)
    ready = seen.first(Happening.POD_READY, pod)
    assert started < ready < started + 1.1
    assert seen.answered(5.0, ready).get(pod, 0) == 0
    assert seen.answered(seen.synced_after(ready))[pod] == pytest.approx(100 * (15 - ready) / 3, rel=0.3)


def test_a_selector_kills_every_pod_that_it_selects():
    seen = see({"at": "2s", "kill": {"labels": {"app": "web"}}}, run__duration="6s")
    assert len(seen.pods_of_fault()) == 3
    synced = seen.synced_after(2.0)
    assert seen.answered(2.0, 2.25).total() == 0
    assert seen.outcomes(2.01, min(synced, 2.25)).keys() == {Outcome.REFUSED}


def test_kept_alive_connections_to_a_killed_pod_are_reset_and_new_ones_go_elsewhere():
    seen = see({"at": "5s", "kill": "deployment/web[1]"}, run__duration="10s", workloads__0__connections="keepalive",
               servers__0__serviceTime={"constant": "100ms"}, workloads__0__arrivals={"constant": "300/s"})
    assert seen.outcomes(0.0, 4.89).keys() == {Outcome.OK}
    assert seen.outcomes(4.9, 5.0)[Outcome.RESET] >= 3
    assert seen.failed(seen.synced_after(5.0)) == 0


# ---- delete --------------------------------------------------------------------------------------------------------------


def test_a_deleted_pod_drains_and_its_controller_replaces_it():
    seen = see({"at": "2s", "delete": "deployment/web[1]"}, run__duration="10s", servers__0__serviceTime={"constant": "200ms"})
    [pod] = seen.pods_of_fault()
    assert seen.first(Happening.POD_TERMINATING, pod) == pytest.approx(2.0, abs=0.01)
    assert seen.failed(1.75, 2.0) == 0  # what was under way is finished
    exited = seen.first(Happening.CONTAINER_EXITED, pod)
    assert 2.15 < exited < 2.35
    assert seen.first(Happening.POD_REMOVED, pod) == pytest.approx(exited + 1.0, abs=0.1)
    [replacement] = [name for name in seen.answered(6.0) if name not in seen.answered(0.0, 2.0)]
    assert seen.first(Happening.POD_SCHEDULED, replacement) < 2.5
    assert 3.0 < seen.first(Happening.POD_READY, replacement) < 5.5


def test_a_program_that_exits_at_sigterm_loses_what_was_under_way():
    seen = see({"at": "2s", "delete": "deployment/web[1]"}, run__duration="4s", servers__0__serviceTime={"constant": "200ms"},
               servers__0__drain="exit")
    [pod] = seen.pods_of_fault()
    assert seen.outcomes(1.81, 1.99)[Outcome.RESET] == pytest.approx(6, abs=4)
    assert seen.first(Happening.CONTAINER_EXITED, pod) == pytest.approx(2.01, abs=0.05)


def test_without_a_pause_before_sigterm_new_connections_are_refused_until_the_proxies_know():
    seen = see({"at": "2s", "delete": "deployment/web[1]"}, run__duration="3s", workloads__0__arrivals="2000/s")
    refused = seen.failures_ns()
    # Once it has exited it is removed, and on a bridge nobody answers for its address.
    assert seen.outcomes().keys() <= {Outcome.OK, Outcome.REFUSED, Outcome.CONNECT_TIMEOUT}
    assert refused
    assert refused[0] >= 2.0
    assert refused[-1] <= seen.synced_after(2.0)


def test_with_a_pause_before_sigterm_a_deletion_costs_no_request():
    for mode in ALL_MODES:
        seen = see({"at": "2s", "delete": "deployment/web[1]"}, mode=mode, run__duration="9s", **with_pre_stop(3))
        [pod] = seen.pods_of_fault()
        assert seen.failed() == 0, mode
        assert seen.first(Happening.CONTAINER_EXITED, pod) == pytest.approx(5.01, abs=0.05)
        assert seen.answered(seen.synced_after(2.0)).get(pod, 0) == 0


def test_a_hung_pod_that_is_deleted_is_killed_when_its_grace_period_is_over():
    seen = see({"at": "2s", "hang": "deployment/web[1]"}, {"at": "3s", "delete": "deployment/web[1]"}, run__duration="12s",
               **with_pods(terminationGracePeriodSeconds=4))
    [pod] = seen.pods_of_fault(1)
    assert seen.times(Happening.CONTAINER_EXITED, pod, code=137) == pytest.approx([7.0], abs=0.1)
    assert seen.first(Happening.POD_REMOVED, pod) == pytest.approx(8.0, abs=0.2)


def test_the_grace_of_a_deletion_overrides_the_pods_own():
    seen = see({"at": "1s", "hang": "deployment/web[1]"}, {"at": "2s", "delete": "deployment/web[1]", "grace": "3s"},
               run__duration="8s")
    [pod] = seen.pods_of_fault(1)
    assert seen.first(Happening.CONTAINER_EXITED, pod) == pytest.approx(5.0, abs=0.1)


def test_a_program_that_ignores_sigterm_serves_until_sigkill():
    seen = see({"at": "2s", "delete": "deployment/web[1]"}, run__duration="9s", servers__0__drain="ignore",
               **with_pods(terminationGracePeriodSeconds=3))
    [pod] = seen.pods_of_fault()
    assert seen.failed() == 0  # endpoints left before the program did
    assert seen.first(Happening.CONTAINER_EXITED, pod, code=137) == pytest.approx(5.0, abs=0.1)


def test_deleting_a_service_ends_its_address():
    seen = see({"at": "3s", "delete": "service/web"}, run__duration="8s", workloads__0__timeout="500ms")
    assert seen.failed(0.0, 2.9) == 0
    assert seen.answered(4.5).total() == 0
    assert not {Outcome.OK} & set(seen.outcomes(4.5))


# ---- hang ----------------------------------------------------------------------------------------------------------------


def test_a_hung_pod_passes_tcp_probes_and_keeps_its_share_of_requests_which_time_out():
    seen = see({"at": "2s", "hang": "deployment/web[1]"}, run__duration="20s", **TCP_PROBE)
    assert not seen.times(Happening.POD_NOT_READY)
    late = seen.outcomes(12.0, 19.0)
    assert set(late) == {Outcome.OK, Outcome.REQUEST_TIMEOUT}
    assert late[Outcome.REQUEST_TIMEOUT] == pytest.approx(700 / 3, rel=0.25)


def test_a_hung_pod_fails_http_probes_and_leaves_the_endpoints_after_three_periods():
    seen = see({"at": "2s", "hang": "deployment/web[1]"}, run__duration="15s")
    [pod] = seen.pods_of_fault()
    noticed = seen.first(Happening.POD_NOT_READY, pod)
    assert 2 + 2 * 2 <= noticed - 1.0 <= 2 + 3 * 2 + 0.1  # the third failure, after the probe's time-out of a second
    synced = seen.synced_after(noticed)
    assert seen.outcomes(3.0, noticed).keys() == {Outcome.OK, Outcome.REQUEST_TIMEOUT}
    assert seen.failed(synced) == 0


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_pod_that_hangs_no_more_is_ready_again_and_serves_as_before(mode):
    seen = see({"at": "2s", "hang": "deployment/web[1]", "for": "8s"}, mode=mode, run__duration="18s")
    [pod] = seen.pods_of_fault()
    ready = seen.first(Happening.POD_READY, pod, after=10.0)
    assert ready <= 12.2
    back = seen.synced_after(ready)
    assert seen.failed(back) == 0
    assert seen.answered(back)[pod] == pytest.approx((18 - back) * 100 / 3, rel=0.35)


def test_a_liveness_probe_restarts_a_hung_container():
    seen = see({"at": "2s", "hang": "deployment/web[1]"}, run__duration="20s", **with_liveness(terminationGracePeriodSeconds=3))
    [pod] = seen.pods_of_fault()
    exited = seen.first(Happening.CONTAINER_EXITED, pod)
    assert 2 + 2 * 2 + 1 + 3 <= exited <= 2 + 3 * 2 + 1 + 3 + 0.1
    started = seen.first(Happening.CONTAINER_STARTED, pod)
    assert exited < started < exited + 1.5
    ready = seen.first(Happening.POD_READY, pod)
    assert seen.failed(seen.synced_after(ready)) == 0
    assert seen.answered(ready).get(pod, 0) > 0


def test_the_kernel_accepts_for_a_hung_pod_until_its_backlog_is_full():
    seen = see({"at": "2s", "hang": "deployment/web[1]"}, run__duration="10s", servers__0__backlog=20,
               workloads__0__timeout="700ms", **TCP_PROBE)
    assert Outcome.CONNECT_TIMEOUT not in seen.outcomes(2.0, 2.3)
    assert Outcome.CONNECT_TIMEOUT in seen.outcomes(6.0, 9.0)


# ---- slow, closePort, failReadiness ----------------------------------------------------------------------------------------


def test_a_slow_pod_takes_its_factor_longer_for_as_long_as_the_fault_lasts():
    seen = see({"at": "5s", "slow": "deployment/web[1]", "factor": 20, "for": "5s"}, run__duration="15s")
    [pod] = seen.pods_of_fault()
    endpoint = seen.result.names.endpoints.index(pod)

    def services(start, end, of_pod):
        requests = seen.between(start, end).requests
        chosen = (requests.endpoint == endpoint) if of_pod else (requests.endpoint != endpoint)
        return set(requests.service_ns[chosen].tolist())

    assert services(0, 4.9, True) == services(10.1, 15, True) == services(5, 10, False) == {1_000_000}
    assert services(5.01, 9.9, True) == {20_000_000}
    assert seen.failed() == 0


def test_a_closed_port_refuses_new_connections_until_probes_have_failed_three_times():
    seen = see({"at": "2s", "closePort": "deployment/web[1]", "for": "10s"}, run__duration="18s")
    [pod] = seen.pods_of_fault()
    noticed = seen.first(Happening.POD_NOT_READY, pod)
    assert 6.0 <= noticed <= 8.1
    assert seen.outcomes(2.1, noticed).keys() == {Outcome.OK, Outcome.REFUSED}
    assert seen.failed(seen.synced_after(noticed), 12.0) == 0
    ready = seen.first(Happening.POD_READY, pod)
    assert 12.0 < ready < 14.1
    assert seen.answered(ready + 1.1)[pod] > 0


def test_connections_that_stand_go_on_when_a_port_is_closed():
    seen = see({"at": "5s", "closePort": "deployment/web[1]"}, run__duration="9s", workloads__0__connections="keepalive",
               workloads__0__arrivals={"constant": "30/s"})
    before, after = seen.answered(2.0, 5.0), seen.answered(5.0, 9.0)
    assert before.keys() == after.keys()
    assert seen.failed() == 0


def test_a_failing_readiness_probe_takes_a_pod_out_of_the_endpoints_and_costs_no_request():
    for mode in ALL_MODES:
        seen = see({"at": "2s", "failReadiness": "deployment/web[1]", "for": "8s"}, mode=mode, run__duration="15s")
        [pod] = seen.pods_of_fault()
        noticed = seen.first(Happening.POD_NOT_READY, pod)
        assert 6.0 <= noticed <= 8.1
        out, ready = seen.synced_after(noticed), seen.first(Happening.POD_READY, pod)
        assert 10.0 < ready < 12.1
        assert seen.failed() == 0, mode
        assert seen.answered(out + 0.05, ready).get(pod, 0) == 0
        assert seen.answered(seen.synced_after(ready))[pod] > 0


def test_a_fault_without_anything_to_act_on_says_so():
    seen = see({"at": "1s", "scale": "deployment/web", "replicas": 2}, {"at": "4s", "kill": "deployment/web[2]"},
               run__duration="5s")
    assert any("nothing that it could act on" in note for note in seen.notes())
    assert seen.failed(4.0) == 0


def test_a_target_is_looked_up_when_the_fault_begins():
    """web[0] is another pod once the first one has been deleted and replaced."""
    seen = see({"at": "1s", "delete": "deployment/web[0]"}, {"at": "8s", "kill": "deployment/web[0]"}, run__duration="9s")
    assert seen.pods_of_fault(0) != seen.pods_of_fault(1)


def test_small_is_what_these_statements_take_it_for():
    scenario = small()
    assert [node.name for node in scenario.nodes] == ["worker-1", "worker-2", "worker-3"]
    assert see(run__duration="2s").failed() == 0


def test_a_fault_at_the_end_of_the_run_or_later_never_comes():
    slow = {"servers": [{"match": {"app": "web"}, "serviceTime": {"constant": "300ms"}}]}
    for at in ("2s", "2100ms"):
        seen = see({"at": at, "kill": "deployment/web"}, run__duration="2s", **slow)
        assert seen.failed() == 0
        assert seen.result.faults == ()
