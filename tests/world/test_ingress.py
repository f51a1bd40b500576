"""Requests through an ingress controller: who answers, what a second try hides, what it costs, and what the controller writes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import svcsim
from svcsim.errors import InputError
from svcsim.kube.api.ingress import Ingress
from svcsim.results.records import PARTS, Flag, Outcome
from svcsim.units import MS, S
from svcsim.world import build
from tests.world.small import ALL_MODES, SMALL, see, small, with_pods

CONTROLLER = """
  - apiVersion: networking.k8s.io/v1
    kind: IngressClass
    metadata: {name: nginx}
    spec: {controller: k8s.io/ingress-nginx}
  - apiVersion: v1
    kind: Service
    metadata: {name: ingress}
    spec: {selector: {app: ingress}, type: LoadBalancer, ports: [{name: http, port: 80, targetPort: 80}]}
  - apiVersion: v1
    kind: Service
    metadata: {name: nobody}
    spec: {selector: {app: nobody}, ports: [{port: 80}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: ingress}
    spec:
      replicas: 1
      selector: {matchLabels: {app: ingress}}
      template:
        metadata: {labels: {app: ingress}}
        spec:
          nodeSelector: {kubernetes.io/hostname: worker-1}
          containers:
            - name: controller
              ports: [{name: http, containerPort: 80}]
              readinessProbe: {httpGet: {path: /healthz, port: 10254}}
  - apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: shop}
    spec:
      ingressClassName: nginx
      rules:
        - host: shop.example
          http:
            paths:
              - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
              - {path: /nobody, pathType: Exact, backend: {service: {name: nobody, port: {number: 80}}}}
"""
TEXT = SMALL.replace("workloads:", CONTROLLER.lstrip("\n") + "workloads:").replace(
    "servers:", "servers:\n  - {match: {app: ingress}, ingress: {class: nginx}}"
).replace("to: http://web.default.svc:80", "to: http://shop.example/\n    via: http://ingress.default.svc")
OUTSIDE = {
    "cluster.outside": [{"name": "laptop", "address": "203.0.113.9"}], "workloads[0].from": "outside/laptop",
    "workloads[0].via": "ingress", "workloads[0].resolve": "interval(1s)",
}
FLAGS = "servers[0].ingress"


def through(*faults: dict[str, Any], **settings: Any):
    """The small cluster with a controller on worker-1, and its clients before it."""
    return see(*faults, text=TEXT, **{"run__duration": "4s", **settings})


def endpoints(seen, outcome):
    """The names of those that answered with an outcome."""
    requests = seen.result.requests
    return {seen.result.names.endpoints[each] for each in set(requests.endpoint[requests.outcome == outcome].tolist())}


# ---- who answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("ip_mode", ["VIP", "Proxy"])
def test_pods_answer_in_turn_whatever_leads_to_the_controller(mode, ip_mode):
    seen = through(mode=mode, **OUTSIDE, **{"cluster.cloud.ipMode": ip_mode})
    counts = seen.answered()
    assert len(counts) == 3
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(pod.startswith("default/web-") for pod in counts)
    assert seen.failed() == 0


def test_the_parts_of_a_request_through_it_sum_and_hold_both_connections_and_both_services():
    kept, new = through().result.requests, through(**{f"{FLAGS}.keepaliveConnections": 0}).result.requests
    for requests in (kept, new):
        assert (sum(requests.column(part) for part in PARTS) == requests.latency_ns).all()
        assert set(requests.service_ns.tolist()) == {100_000 + 1 * MS}
    assert 1.5 * kept.connect_ns.mean() < new.connect_ns.mean() < 3 * kept.connect_ns.mean()


@pytest.mark.parametrize(("to", "outcome"), [
    ("http://shop.example/nobody", Outcome.SERVICE_UNAVAILABLE), ("http://other.example/", Outcome.NOT_FOUND),
    ("http://shop.example/nobody/here", Outcome.OK), ("http://SHOP.example:8080/cart", Outcome.OK),
])
def test_what_no_rule_is_for_is_404_and_a_service_without_endpoints_503(to, outcome):
    seen = through(run__duration="1s", **{"workloads[0].to": to})
    assert set(seen.outcomes()) == {outcome}
    if outcome is not Outcome.OK:
        assert all(name.startswith("default/ingress-") for name in endpoints(seen, outcome))


def test_an_ingress_without_a_class_of_this_controller_is_left_alone():
    seen = through(run__duration="1s", **{"manifests[ingressclass/nginx].spec.controller": "example.com/other"})
    assert set(seen.outcomes()) == {Outcome.NOT_FOUND}
    taken = through(run__duration="1s", **{
        "manifests[ingressclass/nginx].metadata.annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        "manifests[ingress/shop].spec.ingressClassName": None,
    })
    assert set(taken.outcomes()) == {Outcome.OK}


def test_validation_says_who_acts_on_nothing_and_which_host_has_no_ingress():
    nobody = small(text=TEXT, **{f"{FLAGS}.controller": "example.com/other", f"{FLAGS}.class": "other"})
    assert [note for note in nobody.notes if "nobody acts on Ingress default/shop" in note]
    with pytest.raises(InputError, match=r"no Ingress is for the host 'shop.exampel'"):
        small(text=TEXT, **OUTSIDE, **{"workloads[0].to": "http://shop.exampel/"})
    assert small(text=TEXT, **{**OUTSIDE, "workloads[0].via": None}).workloads[0].via.is_ingress


def test_kubernetes_has_ingress_from_1_1_on():
    with pytest.raises(InputError, match=r"Ingress exists from Kubernetes 1\.1 on, not in 1\.0"):
        small(text=TEXT, mode="userspace", kubernetes__version="1.0")


# ---- another try -----------------------------------------------------------------------------------------------------------

KILL = {"at": "1s", "kill": "deployment/web[1]"}
DOWN = {"at": "1s", "down": "node/worker-2"}
LONG = {"workloads[0].timeout": "30s", "workloads[0].from": "outside/laptop", "cluster.outside": OUTSIDE["cluster.outside"],
        "workloads[0].via": "nodePort://ingress.default:80?node=worker-1",
        "manifests[service/ingress].spec.externalTrafficPolicy": "Local", "workloads[0].arrivals": {"poisson": "200/s"}}


def test_a_crash_fails_no_request_unless_there_is_a_single_try():
    slow = {"servers[1].serviceTime": "20ms"}
    tried, once = through(KILL, **slow), through(KILL, **slow, **{f"{FLAGS}.nextUpstream": "off"})
    assert tried.failed() == 0
    assert tried.flagged(Flag.REDIALED) > 0
    assert set(once.outcomes()) == {Outcome.OK, Outcome.BAD_GATEWAY}
    assert once.flagged(Flag.REDIALED) == 0


def test_a_dead_node_costs_a_connect_time_out_a_try_and_504_after_the_last():
    never = {f"{FLAGS}.keepaliveConnections": 0, f"{FLAGS}.connectTimeout": "200ms"}
    tried = through(DOWN, **LONG, **never)
    assert set(tried.outcomes()) == {Outcome.OK, Outcome.GATEWAY_TIMEOUT}
    requests = tried.between(1.1, 4).requests
    failed = requests.outcome == Outcome.GATEWAY_TIMEOUT
    assert 0.02 < failed.mean() < 0.06  # a third of a third of a third
    assert {round(each / MS / 200) for each in requests.retry_ns[~failed].tolist()} == {0, 1, 2}
    assert (requests.retry_ns[failed] >= 600 * MS).all()
    once = through(DOWN, **LONG, **never, **{f"{FLAGS}.nextUpstream": "error"})
    assert once.outcomes(1.1)[Outcome.GATEWAY_TIMEOUT] == pytest.approx(len(requests) / 3, rel=0.1)


def test_an_answer_that_does_not_come_is_waited_for_until_the_read_time_out():
    hang = {"at": "1s", "hang": "deployment/web[1]"}
    seen = through(hang, **LONG, **{f"{FLAGS}.readTimeout": "300ms", f"{FLAGS}.nextUpstream": "error"})
    late = seen.between(1.1, 4).requests
    failed = late.outcome == Outcome.GATEWAY_TIMEOUT
    assert failed.sum() == pytest.approx(len(late) / 3, rel=0.2)
    assert (late.latency_ns[failed] >= 300 * MS).all()


def test_a_gateway_error_names_the_upstream_that_was_tried_last():
    seen = through(
        {"at": "1s", "kill": "deployment/web[1]"}, run__duration="3s", **{f"{FLAGS}.nextUpstreamTries": 1}
    )
    requests = seen.result.requests
    failed = requests.outcome == Outcome.BAD_GATEWAY
    assert endpoints(seen, Outcome.BAD_GATEWAY) == set(seen.pods_of_fault())
    assert ((requests.flags & int(Flag.UNREACHED)) != 0)[failed].all()
    assert not ((requests.flags & int(Flag.UNREACHED)) != 0)[requests.succeeded].any()


def test_connections_to_endpoints_are_kept_up_to_the_limit():
    def connects(kept):
        return through(**{f"{FLAGS}.keepaliveConnections": kept}).result.counters.packets_sent

    assert connects(0) > connects(1) > connects(320)


def test_a_caller_that_gives_up_takes_its_request_from_the_endpoint():
    seen = through(**{"workloads[0].timeout": "10ms", "servers[1].serviceTime": "50ms"})
    assert set(seen.outcomes()) == {Outcome.REQUEST_TIMEOUT}


def test_a_controller_that_hangs_goes_on_where_it_stood_and_one_that_is_killed_takes_its_requests_along():
    hang = {"at": "1s", "hang": "deployment/ingress[0]", "for": "500ms"}
    seen = through(hang, **{"workloads[0].timeout": "3s"})
    assert seen.failed() == 0
    assert seen.between(1.0, 1.4).requests.latency_ns.max() > 400 * MS
    killed = through({"at": "1s", "kill": "deployment/ingress[0]"}, **{"servers[1].serviceTime": "20ms"})
    assert killed.outcomes()[Outcome.RESET] >= 1
    assert killed.failed(3.0) == 0


# ---- what the controller does ------------------------------------------------------------------------------------------------


def test_endpoints_are_followed_by_watch_sync_and_the_workers_second():
    scaled = {"at": "1s", "scale": "deployment/web", "replicas": 1}
    seen = through(scaled, run__duration="4s", **{"workloads[0].timeout": "2s"})
    assert seen.failed() > 0  # pods that exit before the workers have looked are silent
    assert max(seen.failures_ns()) < 1.1 + 1.0
    waits = with_pods(**{"containers[0]__lifecycle": {"preStop": {"sleep": {"seconds": 3}}}})
    assert through(scaled, run__duration="6s", **waits).failed() == 0
    often = {f"{FLAGS}.backendsSyncInterval": "1ms", "workloads[0].timeout": "2s"}
    assert through(scaled, run__duration="4s", **often).failed() < seen.failed()


def test_other_rules_are_a_reload_and_events_tell_of_it():
    rules = [{"host": "shop.example", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "nobody", "port": {"number": 80}}}}]}}]
    change = {"at": "1s", "apply": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop"},
                                    "spec": {"ingressClassName": "nginx", "rules": rules}}}
    scenario = small(change, text=TEXT, run__duration="4s")
    world = build(scenario)
    result = world.run()
    failed = result.requests.outcome == Outcome.SERVICE_UNAVAILABLE
    assert 1.2 * S < result.requests.start_ns[failed].min() < 1.35 * S  # watch, then 200 ms
    assert result.requests.start_ns[~failed].max() < 1.35 * S
    told = [(event.involved.kind, event.reason) for event in world.store.events.entries]
    assert told == [("Ingress", "Sync"), ("Pod", "RELOAD")]


def test_the_status_shows_the_balancers_address_and_a_new_ingress_has_it_within_a_minute():
    new = {"at": "1s", "apply": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "late"}, "spec": {
        "ingressClassName": "nginx", "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}}
    world = build(small(new, text=TEXT, run__duration="65s", workloads__0__arrivals="1/s"))
    shop = world.store.require(Ingress, "default/shop").status
    assert shop == {"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}]}}
    world.advance(50 * S)
    assert world.store.require(Ingress, "default/late").status == {}
    world.advance(61 * S)
    assert world.store.require(Ingress, "default/late").status == shop


def test_another_controller_takes_over_and_nothing_is_left_of_the_dead_one():
    down = {"at": "1s", "down": "node/worker-2"}
    settings = {"manifests[deployment/ingress].spec.replicas": 3,
                "manifests[deployment/ingress].spec.template.spec.nodeSelector": None}
    world = build(small(down, text=TEXT, run__duration="3s", **settings))
    watchers = world.control._board.watchers("Ingress")
    world.run()
    assert world.control._board.watchers("Ingress") == watchers - 1


def test_the_same_scenario_gives_the_same_bytes_and_other_traffic_moves_no_draw():
    first, second = (through(KILL).result.fingerprint for _ in range(2))
    assert first == second


def test_turns_are_taken_by_each_controller_for_itself():
    seen = through(**{"manifests[deployment/ingress].spec.replicas": 2})
    counts = Counter(seen.answered().values())
    assert sum(number * pods for number, pods in counts.items()) == len(seen.result.requests)


def test_the_balance_of_a_workload_counts_the_pods_behind_its_rule_and_not_the_controllers():
    [variant] = svcsim.run(small(text=TEXT, run__duration="2s"))
    assert variant.balance < 1.05
