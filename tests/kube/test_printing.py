"""kubectl's tables."""

import pytest

from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.ingress import Ingress
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.kinds import KINDS
from svcsim.kube.printing import TABLES, Look, rows_of
from svcsim.kube.selection import parse_selector
from svcsim.kube.store import Store
from svcsim.units import S
from tests.kube.small_cluster import SmallCluster, deployment, service


def row(obj, wide=False, now_s=0):
    return rows_of(obj.kind, [obj], Look(Store(None), now_s * S), wide=wide)[1]


def made(model, **data):
    return model.model_validate({"metadata": {"name": "x", "namespace": "default"}, **data})


def test_every_kind_has_a_table():
    assert {kind.name for kind in KINDS} <= set(TABLES)


@pytest.mark.parametrize(("spec", "status", "cells"), [
    ({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}, {}, ["ClusterIP", "10.96.0.7", "<none>", "80/TCP"]),
    ({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": [{"port": 53, "nodePort": 30053, "protocol": "UDP"}]}, {},
     ["NodePort", "10.96.0.7", "<none>", "53:30053/UDP"]),
    ({"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": [{"port": 80}]}, {},
     ["LoadBalancer", "10.96.0.7", "<pending>", "80/TCP"]),
    ({"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
     {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
     ["LoadBalancer", "10.96.0.7", "1.2.3.4", "80/TCP"]),
    ({"type": "ExternalName", "externalName": "db.example"}, {}, ["ExternalName", "<none>", "db.example", "<none>"]),
    ({"clusterIP": "None", "ports": [{"port": 80}, {"port": 443}]}, {}, ["ClusterIP", "None", "<none>", "80/TCP,443/TCP"]),
])
def test_a_service(spec, status, cells):
    assert row(made(Service, spec=spec, status=status))[1:5] == cells


def test_endpoints_show_three_addresses_and_how_many_there_are_beyond():
    addresses = [{"ip": f"10.0.0.{i}"} for i in range(5)]
    subset = {"addresses": addresses, "notReadyAddresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 80}]}
    assert row(made(Endpoints, subsets=[subset]))[1] == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    assert row(made(Endpoints))[1] == "<none>"
    piece = made(EndpointSlice, endpoints=[{"addresses": [each["ip"]]} for each in addresses], ports=[{"port": 80}, {"port": 90}])
    assert row(piece)[1:4] == ["IPv4", "80,90", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."]


@pytest.mark.parametrize(("pod", "status"), [
    ({}, "Pending"),
    ({"spec": {"nodeName": "n1"}}, "ContainerCreating"),
    ({"status": {"phase": "Failed", "reason": "Evicted"}}, "Evicted"),
    ({"status": {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}},
     "CrashLoopBackOff"),
    ({"status": {"phase": "Running", "containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}}, "ExitCode:1"),
    ({"status": {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}]}}, "Completed"),
    ({"metadata": {"name": "x", "deletion_ns": 5}}, "Terminating"),
])
def test_what_state_a_pod_is_in(pod, status):
    assert row(made(Pod, **pod))[2] == status


def test_a_pod_in_a_cluster_crashes_and_comes_back():
    cluster = SmallCluster([deployment(replicas=1), service()])
    [pod] = cluster.pods()
    kubelet = cluster.plane.kubelet(pod.spec.node_name)
    for at in (1, 5):
        cluster.at(at, lambda: kubelet.kill(pod.metadata.key))
    assert row(cluster.run(4).pods()[0], now_s=4)[1:4] == ["1/1", "Running", "1 (3s ago)"]
    assert row(cluster.run(7).pods()[0], now_s=7)[1:4] == ["0/1", "CrashLoopBackOff", "2 (2s ago)"]
    assert row(cluster.run(30).pods()[0], now_s=30)[1:4] == ["1/1", "Running", "2 (25s ago)"]


def test_a_node():
    node = made(Node, spec={"unschedulable": True}, status={
        "conditions": [{"type": "Ready", "status": "Unknown"}], "addresses": [{"type": "InternalIP", "address": "192.168.0.1"}]})
    assert row(node, wide=True)[1:7] == ["NotReady,SchedulingDisabled", "<none>", "0s", "<none>", "192.168.0.1", "<none>"]
    control = made(Node, metadata={"name": "x", "labels": {"node-role.kubernetes.io/control-plane": ""}})
    assert row(control)[1:3] == ["Unknown", "control-plane"]


def test_an_ingress():
    rules = [{"host": "a.example"}, {"host": "b.example"}]
    assert row(made(Ingress, spec={"rules": rules, "tls": [{}], "ingressClassName": "nginx"}))[1:5] == [
        "nginx", "a.example,b.example", "", "80, 443"]
    assert row(made(Ingress))[1:5] == ["<none>", "*", "", "80"]


@pytest.mark.parametrize(("text", "labels", "fits"), [
    ("app=web", {"app": "web"}, True), ("app==web,tier!=db", {"app": "web", "tier": "db"}, False), ("!canary", {}, True),
    ("canary", {}, False), ("app in (web, api)", {"app": "api"}, True), ("app notin (web,api),x", {"x": ""}, True),
    ("", {"a": "b"}, True),
])
def test_label_selectors(text, labels, fits):
    assert parse_selector(text).matches(labels) is fits


@pytest.mark.parametrize("text", ["app=", "=web", "app in web", "app=web=x"])
def test_what_is_no_label_selector_is_refused_or_empty(text):
    if text == "app=":
        assert parse_selector(text).matches({"app": ""})
    else:
        with pytest.raises(ValueError, match="not a label selector"):
            parse_selector(text)
