"""What faults do to kube-proxy, the API server and cluster DNS, and what a change of objects does."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.errors import UsageError
from svcsim.results.records import Flag, Outcome
from svcsim.units import S
from tests.world.small import ALL_MODES, KERNEL_MODES, see

RESOLVING = {"workloads__0__resolve": "connection"}


# ---- kube-proxy stopped ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_node_whose_kube_proxy_is_stopped_goes_by_its_old_rules_and_catches_up_when_it_starts(mode):
    seen = see({"at": "2s", "stopProxy": "node/worker-1", "for": "10s"}, {"at": "4s", "scale": "deployment/web", "replicas": 2},
               mode=mode, run__duration="20s", workloads__0__timeout="500ms")
    assert seen.times(Happening.PROXY_STOPPED) == [2.0]
    started = seen.first(Happening.PROXY_STARTED, "worker-1")
    assert 12.0 < started < 16.0
    synced = seen.first(Happening.PROXY_SYNCED, "worker-1", after=started, kind="full")
    requests = seen.between(6.0, 12.0).requests
    stale = requests.client_node == 0
    assert requests.failed[stale].mean() == pytest.approx(1 / 3, abs=0.12)
    assert requests.failed[~stale].sum() == 0
    assert seen.failed(synced) == 0


def test_in_userspace_mode_connections_end_with_kube_proxy_and_new_ones_are_refused_until_it_is_back():
    seen = see({"at": "2s", "stopProxy": "node/worker-1", "for": "4s"}, mode="userspace", run__duration="12s",
               servers__0__serviceTime={"constant": "200ms"})
    requests = seen.between(1.85, 2.0).requests
    here = requests.client_node == 0
    assert set(requests.outcome[here].tolist()) == {Outcome.RESET}
    assert set(requests.outcome[~here].tolist()) == {Outcome.OK}
    requests = seen.between(2.1, 5.9).requests
    here = requests.client_node == 0
    assert set(requests.outcome[here].tolist()) == {Outcome.REFUSED}
    assert set(requests.outcome[~here].tolist()) == {Outcome.OK}
    assert seen.failed(seen.first(Happening.PROXY_SYNCED, "worker-1", after=6.0)) == 0


# ---- API server away ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_while_the_api_server_is_away_nothing_changes_and_afterwards_everything_catches_up(mode):
    seen = see({"at": "2s", "apiServer": "down", "for": "12s"}, {"at": "4s", "hang": "deployment/web[1]"}, mode=mode,
               run__duration="40s", workloads__0__timeout="500ms")
    [pod] = seen.pods_of_fault(1)
    for what in (Happening.POD_NOT_READY, Happening.ENDPOINTS_UPDATED):
        assert not [at for at in seen.times(what) if 2.0 <= at < 14.0]
    share = seen.failed(5.0, 13.9) / len(seen.between(5.0, 13.9))
    assert share == pytest.approx(1 / 3, abs=0.1)
    noticed = seen.first(Happening.POD_NOT_READY, pod)
    assert 14.0 < noticed < 16.0
    gone = seen.first(Happening.ENDPOINTS_UPDATED, "default/web", after=noticed, object="EndpointSlice")
    synced = seen.synced_after(gone)
    assert synced < 40.0  # watches are taken up again with back-off
    assert seen.failed(synced) == 0


def test_pods_run_and_serve_while_the_api_server_is_away():
    seen = see({"at": "2s", "apiServer": "down", "for": "70s"}, run__duration="100s", workloads__0__arrivals={"constant": "30/s"})
    assert seen.failed() == 0
    assert not seen.times(Happening.NODE_NOT_READY)
    assert not seen.times(Happening.POD_NOT_READY)


def test_what_is_wanted_of_an_api_server_that_is_away_is_done_when_it_is_back():
    seen = see({"at": "2s", "apiServer": "down", "for": "6s"}, {"at": "4s", "scale": "deployment/web", "replicas": 5},
               {"at": "5s", "delete": "deployment/web[0]"}, run__duration="30s")
    assert not [at for at in seen.times(Happening.POD_SCHEDULED) if at < 8.0]
    assert len(seen.answered(25.0)) == 5


# ---- DNS ---------------------------------------------------------------------------------------------------------------


def test_without_cluster_dns_new_names_fail_after_their_time_out_and_known_ones_do_not_matter():
    seen = see({"at": "4s", "dns": "down", "for": "8s"}, run__duration="25s", workloads__0__timeout="8s",
               workloads__0__arrivals={"constant": "30/s"}, **RESOLVING)
    assert seen.failed(0.0, 3.9) == 0
    waiting = seen.between(4.1, 6.0).requests
    assert (waiting.dns_ns[waiting.outcome == Outcome.OK] > 4.9 * S).all()  # the resolver asks again after 5 s
    assert seen.outcomes(4.1, 12.0).keys() <= {Outcome.OK, Outcome.DNS_FAILURE}
    assert seen.failed(18.0) == 0
    cached = see({"at": "4s", "dns": "down", "for": "8s"}, run__duration="14s", workloads__0__resolve="once")
    assert cached.failed() == 0


def test_a_name_costs_six_queries_with_ndots_five_and_the_wait_is_a_part_of_the_latency():
    seen = see(run__duration="4s", **RESOLVING)
    assert seen.failed() == 0
    requests = seen.result.requests
    assert (requests.dns_ns > 0).mean() > 0.9
    assert seen.flagged(Flag.RESOLVED) > 0
    assert seen.result.counters.packets_sent > 12 * len(requests)


# ---- apply -------------------------------------------------------------------------------------------------------------


def service(**spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec}}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_service_whose_selector_changes_sends_to_other_pods(mode):
    green = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "green", "labels": {"app": "green"}},
             "spec": {"containers": [{"name": "web", "image": "example/web:2", "ports": [{"containerPort": 8080}]}]}}
    seen = see({"at": "1s", "apply": [green]}, {"at": "5s", "apply": [service(selector={"app": "green"})]}, mode=mode,
               run__duration="10s")
    assert seen.failed() == 0
    assert "default/green" not in seen.answered(0.0, 5.0)
    assert set(seen.answered(seen.synced_after(5.0))) == {"default/green"}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_service_whose_port_changes_is_no_more_at_the_old_one(mode):
    seen = see({"at": "3s", "apply": [service(ports=[{"name": "http", "port": 81, "targetPort": 8080}])]}, mode=mode,
               run__duration="8s", workloads__0__timeout="500ms")
    assert seen.failed(0.0, 2.9) == 0
    assert Outcome.OK not in seen.outcomes(seen.synced_after(3.0))


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_target_port_that_changes_leads_to_the_same_pods(mode):
    seen = see({"at": "3s", "apply": [service(ports=[{"name": "http", "port": 80, "targetPort": 9090}])]}, mode=mode,
               run__duration="8s")
    assert seen.failed(0.0, 2.9) == 0
    assert seen.failed(seen.synced_after(3.0)) == 0
    assert len(seen.answered(5.0)) == 3


def test_a_service_that_is_applied_works_as_soon_as_the_nodes_know_it():
    other = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"},
             "spec": {"clusterIP": "10.96.9.9", "selector": {"app": "web"}, "ports": [{"port": 8000, "targetPort": 8080}]}}
    seen = see({"at": "3s", "apply": other}, run__duration="8s", workloads__0__to="http://10.96.9.9:8000",
               workloads__0__timeout="500ms")
    assert Outcome.OK not in seen.outcomes(0.0, 2.4)
    filled = seen.first(Happening.ENDPOINTS_UPDATED, "default/other", object="EndpointSlice")
    synced = seen.synced_after(filled)
    assert 3.0 < filled < synced < 5.0
    assert seen.failed(synced) == 0


def test_a_deployment_whose_image_is_applied_is_rolled_out():
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example/web:2", "ports": [{"containerPort": 8080}]}]},
        }},
    }
    seen = see({"at": "2s", "apply": deployment}, run__duration="25s")
    before, after = seen.answered(0.0, 2.0), seen.answered(20.0)
    assert len(before) == len(after) == 3  # replicas stay, since the manifest does not name them
    assert not before.keys() & after.keys()


@pytest.mark.parametrize(
    ("spec", "why"),
    [({"clusterIP": "10.96.1.1"}, "may not change once set"), ({"clusterIP": "None"}, "may not change once set")],
)
def test_what_the_api_server_refuses_ends_the_run_with_its_reason(spec, why):
    with pytest.raises(UsageError, match=rf"^<scenario>:\d+: faults\[0\]: the API server refuses .*{why}"):
        see({"at": "1s", "apply": service(**spec)}, run__duration="2s")


def test_a_port_or_address_that_is_taken_is_refused_too():
    first, second = (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [
            {"port": 80, "nodePort": 30001}]}}
        for name in ("one", "two")
    )
    with pytest.raises(UsageError, match=r"faults\[1\]: .*30001 is already allocated"):
        see({"at": "1s", "apply": first}, {"at": "2s", "apply": second}, run__duration="3s")


# ---- delete ----------------------------------------------------------------------------------------------------------------


def test_the_endpoints_of_a_node_that_is_deleted_leave_at_once_and_no_request_fails():
    seen = see({"at": "2s", "delete": "node/worker-2"}, run__duration="6s")
    assert seen.nodes_of_fault() == ("worker-2",)
    assert not seen.notes()
    assert seen.failed() == 0
    assert 1 not in seen.between(seen.synced_after(2.0), 6.0).requests.server_node.tolist()


def test_what_is_not_there_cannot_be_deleted_twice_and_the_journal_says_so():
    seen = see({"at": "1s", "delete": "service/web"}, {"at": "2s", "delete": "service/web"}, run__duration="3s")
    assert [note for note in seen.notes() if "service/web is not there any more" in note]
