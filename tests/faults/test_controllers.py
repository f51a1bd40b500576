"""Scaling and rolling out under load."""

import pytest

import svcsim
from svcsim.engine.journal import Happening
from tests.faults.test_pods import with_pre_stop
from tests.world.small import ALL_MODES, Seen, see, with_pods


@pytest.mark.parametrize("mode", ALL_MODES)
def test_scaling_up_adds_pods_that_serve_once_they_are_ready_and_costs_nothing(mode):
    seen = see({"at": "2s", "scale": "deployment/web", "replicas": 6}, mode=mode, run__duration="12s")
    assert seen.failed() == 0
    assert len(seen.answered(0.0, 2.0)) == 3
    assert len(seen.answered(8.0)) == 6
    first = seen.first(Happening.POD_READY)
    assert 3.0 < first < 6.0
    assert len(seen.answered(2.0, first)) == 3


def test_scaling_down_ends_the_surplus_and_with_a_pause_before_sigterm_costs_nothing():
    for mode in ALL_MODES:
        seen = see({"at": "2s", "scale": "deployment/web", "replicas": 1}, mode=mode, run__duration="10s", **with_pre_stop(3))
        assert seen.failed() == 0, mode
        assert len(seen.pods_of_fault()) == 2
        assert set(seen.pods_of_fault()) == {entry.subject for entry in seen.result.journal.entries
                                             if entry.kind is Happening.POD_TERMINATING}
        assert len(seen.times(Happening.POD_REMOVED)) == 2
        assert len(seen.answered(5.0)) == 1


def test_scaling_to_nothing_refuses_everything_and_back_serves_again():
    seen = see({"at": "2s", "scale": "deployment/web", "replicas": 0}, {"at": "6s", "scale": "deployment/web", "replicas": 2},
               run__duration="14s")
    assert seen.answered(3.5, 6.0).total() == 0
    assert seen.failed(4.0, 6.0) == len(seen.between(4.0, 6.0))
    assert seen.failed(11.0) == 0
    assert len(seen.answered(11.0)) == 2


def rolled_out(mode="iptables", **settings):
    return see({"at": "2s", "rollout": "deployment/web"}, mode=mode, **{"run__duration": "40s", **settings})


def test_a_rollout_replaces_every_pod_and_keeps_enough_of_them_ready():
    seen = rolled_out()
    before, after = set(seen.answered(0.0, 2.0)), set(seen.answered(35.0))
    assert len(before) == len(after) == 3
    assert not before & after
    # maxUnavailable 25% of 3 is none, maxSurge one.
    entries = [entry for entry in seen.result.journal.entries if entry.kind is Happening.ENDPOINTS_UPDATED
               and entry.detail["object"] == "EndpointSlice"]
    assert min(entry.detail["ready"] for entry in entries) >= 3
    assert max(entry.detail["ready"] for entry in entries) <= 4


def test_max_unavailable_lets_pods_go_before_their_successors_are_ready():
    seen = rolled_out(**{"manifests[deployment/web].spec.strategy": {"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 0}}})
    entries = [entry for entry in seen.result.journal.entries if entry.kind is Happening.ENDPOINTS_UPDATED
               and entry.detail["object"] == "EndpointSlice"]
    assert min(entry.detail["ready"] for entry in entries) == 1
    assert len(set(seen.answered(35.0)) - set(seen.answered(0.0, 2.0))) == 3


def test_a_rollout_with_a_pause_before_sigterm_costs_no_request_and_without_one_it_does():
    busy = {"workloads__0__arrivals": "400/s", "servers__0__serviceTime": {"constant": "5ms"}, "servers__0__drain": "exit"}
    for mode in ALL_MODES:
        assert rolled_out(mode, **busy, **with_pre_stop(3), run__duration="20s").failed() == 0, mode
    assert rolled_out("iptables", **busy, run__duration="20s").failed() > 0


def test_a_rollout_stops_where_new_pods_do_not_get_ready():
    seen = see({"at": "2s", "apply": {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "web", "image": "example/web:2", "ports": [{"name": "http", "containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "initialDelaySeconds": 300}}]}}},
    }}, run__duration="30s")
    assert seen.failed() == 0
    assert set(seen.answered(25.0)) == set(seen.answered(0.0, 2.0))
    assert not seen.times(Happening.POD_TERMINATING)


def test_an_index_of_a_stateful_set_is_an_ordinal_and_its_last_pods_go_first():
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db"}]}}
    stateful = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
                "spec": {"serviceName": "db", "replicas": 3, "template": template}}
    faults = [{"at": "1s", "delete": "statefulset/db[0]"}, {"at": "10s", "kill": "statefulset/db[0]"},
              {"at": "12s", "scale": "statefulset/db", "replicas": 1}]
    seen = Seen(svcsim.run_one(svcsim.loads(
        "run: {duration: 20s}\nworkloads: []", {"manifests": [stateful], "faults": faults})))
    assert [seen.pods_of_fault(index) for index in range(2)] == [("default/db-0",)] * 2
    assert set(seen.pods_of_fault(2)) == {"default/db-1", "default/db-2"}


def test_a_stateful_set_and_a_daemon_set_are_rolled_out_too():
    for kind, extra in (("StatefulSet", {"replicas": 2, "serviceName": "db"}), ("DaemonSet", {})):
        obj = {
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "db"},
            "spec": {"selector": {"matchLabels": {"app": "db"}}, **extra, "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "db", "image": "example/db:1", "ports": [{"containerPort": 5432}]}]}}},
        }
        seen = see({"at": "1s", "apply": obj}, {"at": "12s", "rollout": f"{kind.lower()}/db"}, run__duration="45s",
                   workloads__0__arrivals={"constant": "5/s"})
        assert seen.pods_of_fault(1), kind
        removed = {entry.subject for entry in seen.result.journal.entries if entry.kind is Happening.POD_REMOVED}
        assert set(seen.pods_of_fault(1)) <= removed, kind


def test_pods_for_which_there_is_no_room_wait():
    seen = see({"at": "2s", "scale": "deployment/web", "replicas": 9}, run__duration="10s",
               cluster__nodes={"count": 3, "maxPods": 3}, **with_pods(terminationGracePeriodSeconds=1))
    assert len(seen.answered(8.0)) == 6  # three clients take a place each
    assert seen.failed() == 0
