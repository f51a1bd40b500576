"""The service controller makes, updates and removes balancers, and says so."""

from __future__ import annotations

import pytest

from svcsim.kube.api.node import Node, Taint
from svcsim.kube.api.service import LoadBalancerIngress, Service
from svcsim.kube.controllers.service_lb import EXCLUDE_LABEL, FINALIZER, CloudError, ServiceController
from svcsim.kube.informer import Informer
from svcsim.kube.store import with_metadata
from svcsim.units import S
from tests.kube.small_cluster import SmallCluster, deployment, service


class FakeCloud:
    provisioning_ns = 10 * S
    update_ns = 2 * S

    def __init__(self):
        self.balancers = {}
        self.failing = 0

    def _refuse(self):
        if self.failing:
            self.failing -= 1
            raise CloudError("quota exceeded")

    def ensure(self, service, nodes):
        self._refuse()
        self.balancers[service.metadata.key] = [node.metadata.name for node in nodes]
        return (LoadBalancerIngress(ip="198.51.100.2", ip_mode="VIP"),)

    def update(self, service, nodes):
        self._refuse()
        self.balancers[service.metadata.key] = [node.metadata.name for node in nodes]

    def remove(self, service):
        self._refuse()
        del self.balancers[service.metadata.key]


class Cluster(SmallCluster):
    def __init__(self, ready_only=False, workers=1):
        super().__init__([deployment()])
        self.cloud = FakeCloud()
        informer = Informer(self.plane.client("cloud-controller-manager"), (Service, Node))
        informer.list_initially()
        self.controller = ServiceController(informer, self.cloud, workers=workers, ready_only=ready_only)

    def told(self):
        entries = self.store.events.entries
        return [(event.reason, round(event.first_ns / S)) for event in entries if event.involved.kind == "Service"]

    def web(self, name="web"):
        return self.store.get(Service, f"default/{name}")

    def addresses(self, name="web"):
        return [point.ip for point in self.web(name).status.load_balancer.ingress]

    def change_node(self, name, **changes):
        node = self.store.require(Node, name)
        if "labels" in changes:
            self.store.update(with_metadata(node, labels={**node.metadata.labels, **changes["labels"]}))
        else:
            self.store.update(node.model_copy(update={"spec": node.spec.model_copy(update=changes)}))


@pytest.fixture
def cluster():
    made = Cluster()
    made.store.create(service(type="LoadBalancer"))
    return made


def test_a_balancer_is_there_when_the_provider_is_done(cluster):
    cluster.run(9)
    assert cluster.addresses() == []
    cluster.run(11)
    assert cluster.addresses() == ["198.51.100.2"]
    assert cluster.web().metadata.finalizers == (FINALIZER,)
    assert cluster.told() == [("EnsuringLoadBalancer", 0), ("EnsuredLoadBalancer", 10)]
    assert cluster.cloud.balancers == {"default/web": ["n1", "n2", "n3"]}


def test_a_deleted_service_goes_when_its_balancer_is_gone(cluster):
    cluster.run(20)
    cluster.store.delete(Service, "default/web")
    cluster.run(21)
    assert cluster.web() is not None
    cluster.run(30)
    assert cluster.web() is None
    assert cluster.cloud.balancers == {}
    assert [reason for reason, _ in cluster.told()][-2:] == ["DeletingLoadBalancer", "DeletedLoadBalancer"]


def test_a_service_that_changes_its_type_gives_its_balancer_back(cluster):
    cluster.run(20)
    web = cluster.web()
    cluster.store.update(web.model_copy(update={"spec": web.spec.model_copy(update={"type": "NodePort"})}))
    cluster.run(30)
    assert cluster.cloud.balancers == {}
    assert cluster.addresses() == []
    assert cluster.web().metadata.finalizers == ()


@pytest.mark.parametrize(
    "change", [
        {"labels": {EXCLUDE_LABEL: "true"}},
        {"taints": (Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule"),)},
    ],
)
def test_a_node_that_may_not_be_behind_balancers_is_taken_out(cluster, change):
    cluster.run(20)
    cluster.change_node("n2", **change)
    cluster.run(25)
    assert cluster.cloud.balancers == {"default/web": ["n1", "n3"]}
    assert cluster.told()[-1] == ("UpdatedLoadBalancer", 22)


@pytest.mark.parametrize(("ready_only", "members"), [(True, ["n1", "n3"]), (False, ["n1", "n2", "n3"])])
def test_a_node_that_is_not_ready_stays_a_member_unless_readiness_decides(ready_only, members):
    cluster = Cluster(ready_only)
    cluster.store.create(service(type="LoadBalancer"))
    cluster.run(20)
    cluster.plane.kubelet("n2").power_off()
    cluster.run(100)
    assert cluster.cloud.balancers == {"default/web": members}


def test_without_any_node_it_warns():
    cluster = Cluster()
    for name in ("n1", "n2", "n3"):
        cluster.change_node(name, labels={EXCLUDE_LABEL: ""})
    cluster.run(1)
    cluster.store.create(service(type="LoadBalancer"))
    cluster.run(20)
    assert ("UnAvailableLoadBalancer", 11) in cluster.told()


def test_a_refusal_is_told_and_tried_again(cluster):
    cluster.cloud.failing = 1
    cluster.run(12)
    assert cluster.told() == [("EnsuringLoadBalancer", 0), ("SyncLoadBalancerFailed", 10)]
    cluster.run(30)
    assert cluster.addresses() == ["198.51.100.2"]
    assert cluster.told()[-1] == ("EnsuredLoadBalancer", 25)


def test_one_worker_makes_one_balancer_after_the_other():
    slow, fast = Cluster(), Cluster(workers=2)
    for cluster in (slow, fast):
        cluster.store.create(service(type="LoadBalancer"))
        cluster.store.create(service("shop", type="LoadBalancer"))
        cluster.run(12)
    assert (slow.addresses(), slow.addresses("shop")) == (["198.51.100.2"], [])
    assert fast.addresses("shop") == ["198.51.100.2"]


def test_a_service_with_a_class_and_one_of_another_type_are_left_alone():
    cluster = Cluster()
    cluster.store.create(service(type="LoadBalancer", loadBalancerClass="example.com/internal"))
    cluster.store.create(service("shop", type="NodePort"))
    cluster.run(60)
    assert cluster.told() == []
    assert cluster.cloud.balancers == {}


def test_while_the_api_server_is_away_nothing_is_written_and_afterwards_it_is(cluster):
    cluster.run(5)
    cluster.store.set_available(False)
    cluster.run(30)
    assert cluster.addresses() == []
    cluster.store.set_available(True)
    cluster.run(60)
    assert cluster.addresses() == ["198.51.100.2"]
