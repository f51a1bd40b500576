"""Streams of shared connections through what stands before pods: an ingress controller, and every mode of kube-proxy."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, S
from tests.world.small import ALL_MODES, see
from tests.world.test_ingress import FLAGS, TEXT, endpoints

SHARED = {"workloads[0].connections": "multiplexed", "workloads[0].arrivals": {"constant": "600/s"}}
SLOW = {"servers[1].serviceTime": {"exponential": "20ms"}, "servers[1].workers": 100}


def through(*faults: dict[str, Any], **settings: Any):
    """The small cluster with a controller, whose clients call over one connection each."""
    return see(*faults, text=TEXT, **{"run__duration": "3s", **SHARED, **SLOW, **settings})


def test_calls_of_one_connection_go_to_the_pods_in_turn_and_are_recorded_where_they_were_answered():
    seen = through()
    requests = seen.result.requests
    assert seen.failed() == 0
    assert seen.flagged(Flag.NEW_CONNECTION) == 3
    # The controller's workers take turns in the order in which requests came to them.
    order = np.argsort(requests.start_ns + requests.wait_ns + requests.connect_ns)
    counts = Counter(requests.endpoint.tolist())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(a != b for a, b in pairwise(requests.endpoint[order].tolist())) > 0.95 * len(requests)
    requests.check_conservation()


def test_a_host_that_only_an_ingress_has_is_reached_over_streams_as_well():
    outside = {
        "cluster.outside": [{"name": "laptop", "address": "203.0.113.9"}], "workloads[0].from": "outside/laptop",
        "workloads[0].via": None, "workloads[0].resolve": "interval(1s)",
    }
    seen = through(**outside)
    assert seen.failed() == 0
    assert seen.flagged(Flag.NEW_CONNECTION) == 1
    assert len(endpoints(seen, Outcome.OK)) == 3


@pytest.mark.parametrize(("mode", "ip_mode"), [("iptables", "Proxy"), ("userspace", "VIP")])
def test_proxies_before_the_controller_pass_on_what_belongs_to_a_stream(mode, ip_mode):
    outside = {
        "cluster.outside": [{"name": "laptop", "address": "203.0.113.9"}], "workloads[0].from": "outside/laptop",
        "workloads[0].via": "ingress", "workloads[0].resolve": "interval(1s)", "cluster.cloud": {"ipMode": ip_mode},
    }
    seen = through(mode=mode, **outside)
    assert seen.failed() == 0
    counts = Counter(seen.result.requests.endpoint.tolist())
    assert set(map(seen.result.names.endpoints.__getitem__, counts)) == endpoints(through(), Outcome.OK)
    assert max(counts.values()) - min(counts.values()) <= 1
    gives_up = {"workloads[0].timeout": "300ms", f"{FLAGS}.readTimeout": "10s", **outside}
    late = through({"at": "1s", "hang": "deployment/web[1]"}, mode=mode, **gives_up).between(1.2, 2.6).requests
    assert np.mean(late.outcome == Outcome.REQUEST_TIMEOUT) == pytest.approx(1 / 3, abs=0.02)


def test_a_crash_fails_no_stream_unless_there_is_a_single_try_and_then_each_names_the_pod():
    kill = {"at": "1s", "kill": "deployment/web[1]"}
    assert through(kill).failed() == 0
    once = through(kill, **{f"{FLAGS}.nextUpstreamTries": 1, f"{FLAGS}.nextUpstream": "off"})
    assert set(once.outcomes()) == {Outcome.OK, Outcome.BAD_GATEWAY}
    assert endpoints(once, Outcome.BAD_GATEWAY) == set(once.pods_of_fault())
    requests = once.result.requests
    unreached = (requests.flags & int(Flag.UNREACHED)) != 0
    assert not unreached[requests.succeeded].any()


def test_a_stream_that_is_given_up_is_taken_from_its_endpoint_and_no_other_is():
    hang = {"at": "1s", "hang": "deployment/web[1]"}
    seen = through(hang, **{"workloads[0].timeout": "300ms", f"{FLAGS}.readTimeout": "10s"})
    late = seen.between(1.2, 2.6).requests
    assert set(late.outcome) == {Outcome.OK, Outcome.REQUEST_TIMEOUT}
    failed = late.outcome == Outcome.REQUEST_TIMEOUT
    assert failed.mean() == pytest.approx(1 / 3, abs=0.02)
    assert len(set(late.endpoint[failed])) == 1
    assert late.latency_ns[~failed].max() < 250 * MS


def test_a_reload_sends_clients_to_another_connection_and_loses_nothing():
    rules = [{"host": "shop.example", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]
    change = {"at": "1s", "apply": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop"},
                                    "spec": {"ingressClassName": "nginx", "rules": rules}}}
    seen = through(change)
    assert seen.failed() == 0
    opened = seen.result.requests.start_ns[(seen.result.requests.flags & int(Flag.NEW_CONNECTION)) != 0]
    assert np.count_nonzero(opened > 1.2 * S) == 3


def test_a_controller_that_is_killed_takes_its_streams_along_and_one_that_drains_takes_none():
    killed = through({"at": "1s", "kill": "deployment/ingress[0]"})
    assert killed.outcomes()[Outcome.RESET] > 5
    assert killed.failed(2.8) == 0
    pods = "manifests[deployment/ingress].spec"
    two = {f"{pods}.replicas": 2, f"{pods}.template.spec.containers[0].lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}
    assert through({"at": "1s", "delete": "deployment/ingress[0]"}, **two, run__duration="4s").failed() == 0


# ---- through kube-proxy ------------------------------------------------------------------------------------------------------

STREAMS = {**SHARED, "servers[0].serviceTime": {"exponential": "20ms"}, "servers[0].workers": 100}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_drain_loses_no_stream_in_any_mode(mode):
    waits = {"manifests[deployment/web].spec.template.spec.containers[0].lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}
    seen = see({"at": "1s", "delete": "deployment/web[1]"}, mode=mode, **STREAMS, **waits, run__duration="6s")
    assert seen.failed() == 0
    [gone] = seen.pods_of_fault()
    late = seen.between(4.3, 6).requests
    assert gone not in {seen.result.names.endpoints[each] for each in set(late.endpoint.tolist())}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_greatest_age_spreads_clients_in_every_mode_and_loses_no_stream(mode):
    aged = {"workloads[0].connections": {"multiplexed": {"maxAge": "300ms", "grace": "2s"}}}
    seen = see(mode=mode, **{**STREAMS, **aged}, run__duration="5s")
    assert seen.failed() == 0
    shares = np.array(sorted(Counter(seen.result.requests.endpoint.tolist()).values())) / len(seen.result.requests)
    assert len(shares) == 3
    assert shares.min() > 0.15
