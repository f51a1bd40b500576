"""Balancers, health check node ports and routes in a world, with what goes wrong around them."""

from __future__ import annotations

import re

import numpy as np
import pytest

import svcsim
from svcsim.engine.journal import Happening
from svcsim.errors import InputError, UsageError
from svcsim.kube.api.service import Service
from svcsim.results.records import Flag, Outcome
from svcsim.world import build
from tests.world.small import ALL_MODES, KERNEL_MODES, see, small

BALANCER = {
    "manifests[service/web].spec.type": "LoadBalancer",
    "cluster.outside": [{"name": "laptop", "address": "203.0.113.9"}],
    "cluster.cloud.healthCheck": {"interval": "1s", "timeout": "500ms"},
    "workloads[0].from": "outside/laptop",
    "workloads[0].to": "loadBalancer://web.default:80",
    "workloads[0].resolve": "interval(1s)",
}
LOCAL = {**BALANCER, "manifests[service/web].spec.externalTrafficPolicy": "Local"}


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("ip_mode", ["VIP", "Proxy"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_balancer_reaches_every_pod_in_every_mode(mode, ip_mode, protocol):
    settings = {**BALANCER, "cluster.cloud.ipMode": ip_mode}
    if protocol == "UDP":
        settings |= {
            "manifests[service/web].spec.ports": [{"port": 80, "targetPort": 8080, "protocol": "UDP"}],
            "manifests[deployment/web].spec.template.spec.containers": [
                {"name": "web", "ports": [{"containerPort": 8080, "protocol": "UDP"}]}
            ],
            "workloads[0].to": "loadBalancer+udp://web.default:80",
        }
    seen = see(mode=mode, run__duration="3s", **settings)
    assert seen.failed() == 0
    assert len(seen.answered()) == 3


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_with_policy_local_a_balancer_keeps_the_callers_address_and_with_mode_proxy_it_does_not(mode):
    assert see(mode=mode, run__duration="3s", **LOCAL).flagged(Flag.MASQUERADED) == 0
    proxied = see(mode=mode, run__duration="3s", **LOCAL, **{"cluster.cloud.ipMode": "Proxy"})
    assert proxied.flagged(Flag.MASQUERADED) == len(proxied.result.requests)


def test_a_dead_node_takes_its_share_until_three_checks_in_a_row_have_failed():
    seen = see({"at": "4.5s", "down": "node/worker-2"}, run__duration="14s", workloads__0__timeout="500ms", **LOCAL)
    [found] = seen.times(Happening.TARGET_HEALTH, "worker-2", healthy="no")
    assert 6.9 < found < 8.2
    assert seen.failed(4.6, found - 0.1) / (100 * (found - 4.7)) == pytest.approx(1 / 3, abs=0.08)
    assert seen.failed(found) == 0


def test_a_node_whose_kube_proxy_has_stopped_is_left_by_balancers_though_its_rules_still_work():
    seen = see({"at": "3s", "stopProxy": "node/worker-2"}, run__duration="12s", **LOCAL)
    assert len(seen.times(Happening.TARGET_HEALTH, "worker-2", healthy="no")) == 1
    assert seen.failed() == 0


def test_the_health_check_node_port_follows_the_endpoints_of_the_last_sync():
    fewer = {"at": "4s", "scale": "deployment/web", "replicas": 1}
    seen = see(fewer, run__duration="12s", **LOCAL)
    unable = {node for node in ("worker-1", "worker-2", "worker-3") if seen.times(Happening.TARGET_HEALTH, node, healthy="no")}
    assert len(unable) == 2
    assert min(seen.times(Happening.TARGET_HEALTH)) > 6.0  # three checks
    assert seen.failed(9.0) == 0


@pytest.mark.parametrize(("policy", "has_port"), [("Cluster", False), ("Local", True)])
def test_only_policy_local_has_a_health_check_node_port(policy, has_port):
    world = build(small(**LOCAL | {"manifests[service/web].spec.externalTrafficPolicy": policy}))
    assert bool(world.store.require(Service, "default/web").spec.health_check_node_port) is has_port


def test_503_comes_from_a_node_without_a_local_endpoint():
    port = build(small(**LOCAL)).store.require(Service, "default/web").spec.health_check_node_port
    nodes = {"cluster.nodes": [
        {"name": "worker-1", "labels": {"web": "yes"}, "address": "192.168.9.1"},
        {"name": "worker-2", "address": "192.168.9.2"},
    ]}
    settings = {
        **LOCAL, **nodes, "manifests[deployment/web].spec.template.spec.nodeSelector": {"web": "yes"},
        "manifests[service/web].spec.healthCheckNodePort": port, "run.duration": "3s",
    }
    able = see(**settings | {"workloads[0].to": f"http://192.168.9.1:{port}"})
    assert set(able.outcomes()) == {Outcome.OK}
    unable = see(**settings | {"workloads[0].to": f"http://192.168.9.2:{port}"})
    assert set(unable.outcomes()) == {Outcome.SERVER_BUSY}  # status 503


def test_a_node_that_is_labelled_out_gets_nothing_from_balancers_although_its_pods_are_ready():
    nodes = [
        {"name": "worker-1"}, {"name": "worker-2", "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": "true"}},
        {"name": "worker-3"},
    ]
    seen = see(run__duration="3s", **LOCAL, **{"cluster.nodes": nodes})
    assert seen.failed() == 0
    assert len(seen.answered()) == 2


def test_a_cluster_without_a_cloud_leaves_the_service_pending():
    seen = see(run__duration="3s", **BALANCER, **{"cluster.cloud": "none"})
    assert set(seen.outcomes()) == {Outcome.DNS_FAILURE}


def test_an_imported_balancer_keeps_its_address():
    status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.77"}]}}
    settings = {**BALANCER, "manifests[service/web].status": status, "workloads[0].to": "http://198.51.100.77:80"}
    assert see(run__duration="3s", **settings).failed() == 0


def test_a_fixed_address_is_asked_for():
    settings = {**BALANCER, "manifests[service/web].spec.loadBalancerIP": "198.51.100.9", "workloads[0].to": "http://198.51.100.9:80"}
    assert see(run__duration="3s", **settings).failed() == 0


def test_a_run_with_a_settled_balancer_starts_without_any_change():
    world = build(small(run__duration="5s", **LOCAL))
    world.advance(5_000_000_000)
    assert world.store.events.entries == []
    assert not [entry for entry in world.journal.entries if entry.kind in (Happening.SERVICE_CHANGED, Happening.PROXY_SYNCED)]


def test_a_route_leads_to_the_external_ip_through_the_nodes_that_it_names():
    settings = {
        "manifests[service/web].spec.externalIPs": ["198.51.100.80"],
        "cluster.outside": [{"name": "laptop", "address": "203.0.113.9"}],
        "workloads[0].from": "outside/laptop", "workloads[0].to": "http://198.51.100.80:80", "run.duration": "3s",
    }
    assert set(see(**settings).outcomes()) == {Outcome.CONNECT_TIMEOUT}
    routed = {**settings, "cluster.network.routes": [{"to": "198.51.100.80", "via": ["worker-1", "worker-3"]}]}
    assert see(**routed).failed() == 0
    lossy = see({"at": "0s", "down": "node/worker-3"}, **routed)
    assert 0.3 < lossy.failed() / len(lossy.result.requests) < 0.8  # a route does not know that its node is dead


@pytest.mark.parametrize(
    ("settings", "message"), [
        ({"workloads[0].to": "loadBalancer://web.default:80"}, "Service web is of type ClusterIP and has no balancer"),
        ({"cluster.network.routes": [{"to": "198.51.100.80", "via": "worker-9"}]}, "there is no node 'worker-9'"),
        ({"cluster.cloud": {"healthCheck": {"interval": "1s", "timeout": "2s"}}}, "at most its 'interval'"),
        ({"workloads[0].balancing": "round_robin"}, "resolve is interval(30s) or once"),
    ],
)
def test_mistakes_are_told(settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        small(**settings)


# ---- clients that balance on their own -----------------------------------------------------------------------------------

HEADLESS = {
    "manifests[service/web].spec.clusterIP": "None",
    "manifests[service/web].spec.ports": [{"port": 8080}],
    "workloads[0].to": "http://web.default.svc:8080",
    "workloads[0].resolve": "interval(2s)",
    "workloads[0].connections": "keepalive",
    "workloads[0].from": {"clients": 1},
}


def test_a_node_as_client_of_a_headless_service_is_told_that_only_pods_ask_dns():
    with pytest.raises(UsageError, match="worker-1 does not ask cluster DNS, only pods do"):
        see(**{**HEADLESS, "workloads[0].from": "node/worker-1"})


@pytest.mark.parametrize(
    ("balancing", "pods"),
    [(None, 1), ("pick_first", 1), ("round_robin", 3), ("random", 3), ("least_request", 3)],
)
def test_a_client_of_a_headless_service_loads_the_pods_that_it_chooses(balancing, pods):
    seen = see(run__duration="1s", **HEADLESS, **({"workloads[0].balancing": balancing} if balancing else {}))
    assert seen.failed() == 0
    assert len(seen.answered()) == pods


def test_round_robin_is_even_to_one_request_over_kept_connections():
    seen = see(run__duration="4s", **HEADLESS, **{"workloads[0].balancing": "round_robin"})
    counts = seen.answered()
    assert max(counts.values()) - min(counts.values()) <= 2
    assert seen.flagged(Flag.NEW_CONNECTION) == 3


def test_an_address_that_cannot_be_connected_to_is_left_out_until_the_next_answer():
    settings = {**HEADLESS, "workloads[0].connections": "new", "workloads[0].resolve": "once"}
    deletion = {"at": "2s", "delete": "deployment/web[0]"}
    seen = see(deletion, run__duration="6s", **settings, **{"workloads[0].balancing": "random"})
    assert 0 < seen.failed(2.0) <= 50  # a third of a second's requests, until the first has timed out
    assert seen.failed(4.0) == 0


@pytest.mark.parametrize("connections", ["new", "keepalive", "multiplexed"])
def test_a_pod_that_is_added_is_among_the_chosen_when_the_interval_is_over(connections):
    settings = {**HEADLESS, "workloads[0].connections": connections, "workloads[0].balancing": "least_request"}
    seen = see({"at": "1s", "scale": "deployment/web", "replicas": 4}, run__duration="8s", **settings)
    assert seen.failed() == 0
    assert len(set(seen.between(0, 2).requests.endpoint)) == 3
    late = np.bincount(seen.between(5.5, 8).requests.endpoint)
    assert (late > 0).sum() == 4
    assert late[late > 0].min() > late.sum() / 8


def test_a_shared_connection_that_ends_makes_its_client_ask_again_at_once():
    settings = {**HEADLESS, "workloads[0].connections": "multiplexed", "workloads[0].balancing": "least_request",
                "workloads[0].resolve": "interval(5m)"}
    seen = see({"at": "1s", "delete": "deployment/web[0]"}, run__duration="10s", **settings)
    [gone] = seen.pods_of_fault()
    names = seen.result.names.endpoints
    before, after = ({names[each] for each in seen.between(*window).requests.endpoint} for window in ((0, 1), (6, 10)))
    assert gone in before
    assert gone not in after
    assert len(after) == 2  # the pod in its place came too late for that answer
    assert seen.failed(2.0) == 0


# ---- session affinity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "loyal"), [("iptables", False), ("nftables", True), ("ipvs/rr", True)])
def test_the_recent_list_of_iptables_keeps_100_clients_an_endpoint_and_other_modes_keep_all(mode, loyal):
    scenario = small(mode=mode, run__duration="20s", **{
        "cluster.nodes": [{"name": "worker-1", "maxPods": 300}], "workloads[0].from": {"clients": 240},
        "manifests[deployment/web].spec.replicas": 2,
        "manifests[service/web].spec.sessionAffinity": "ClientIP", "workloads[0].arrivals": {"poisson": "200/s"},
    })
    world = build(scenario)
    used: dict[str, set[int]] = {}
    [workload] = world.clients.workloads
    workload.on_end = lambda request, finish_ns: used.setdefault(request.tag.name, set()).add(request.connection.endpoint)
    world.run()
    assert len(used) == 240
    strayed = sum(len(endpoints) > 1 for endpoints in used.values())
    assert (strayed == 0) if loyal else strayed > 20


@pytest.mark.parametrize(("version", "served"), [("1.25", False), ("1.26", True)])
def test_endpoints_that_terminate_serve_where_no_other_is_left_from_1_26_on(version, served):
    every_pod = {"at": "2s", "delete": {"labels": {"app": "web"}}}
    pause = {"preStop": {"exec": {"command": ["sleep", "5"]}}}
    seen = see(every_pod, run__duration="6s", **{
        "kubernetes.version": version, "kubernetes.timings.containerStart": "4s",
        "manifests[deployment/web].spec.template.spec.containers[0].lifecycle": pause,
    })
    assert (seen.failed() == 0) is served
    assert seen.failed(2.5, 5.0) == (0 if served else len(seen.between(2.5, 5.0)))


def test_external_names_lead_to_a_host_outside():
    text = """
cluster: {outside: [{name: db.example.com, address: 203.0.113.50, servers: [{port: 5432}]}]}
manifests:
  - {apiVersion: v1, kind: Service, metadata: {name: database}, spec: {type: ExternalName, externalName: db.example.com}}
workloads: [{from: {clients: 1}, to: 'tcp://database.default.svc:5432', arrivals: 50/s, resolve: connection, connections: new}]
run: {duration: 3s, warmup: 0s}
"""
    result = svcsim.run_one(svcsim.loads(text))
    assert result.everything.success == 1.0
    assert result.everything.answered_by() == {"outside/db.example.com": len(result.requests)}
