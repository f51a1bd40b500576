"""Endpoints beyond their capacity, and hints that do not fit the zones any more."""

import pytest

from svcsim.kube.api.endpoints import EndpointAddress, Endpoints, EndpointSlice, EndpointSubset
from svcsim.kube.api.node import Node
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.subsets import OVER_CAPACITY_ANNOTATION, truncate
from svcsim.kube.controllers.topology_hints import is_overloaded
from tests.kube.small_cluster import SmallCluster, deployment, service


def subset(ready, others=0, first=0):
    made = [EndpointAddress(ip=f"10.{first}.{i // 250}.{i % 250}") for i in range(ready + others)]
    return EndpointSubset(addresses=tuple(made[:ready]), not_ready_addresses=tuple(made[ready:]))


def sizes(subsets):
    return [(len(each.addresses), len(each.not_ready_addresses)) for each in subsets]


@pytest.mark.parametrize(("given", "kept"), [
    ([(500, 500)], [(500, 500)]),
    ([(1200, 300)], [(1000, 0)]),
    ([(400, 900)], [(400, 600)]),
    ([(1000, 1)], [(1000, 0)]),
    # A subset's share is rounded up: 1001 in three parts of 334, 334 and 333 keep 334, 334 and 332.
    ([(334, 0), (334, 0), (333, 0)], [(334, 0), (334, 0), (332, 0)]),
    ([(0, 700), (300, 700)], [(0, 350), (300, 350)]),
    ([(1500, 0), (1, 0), (1, 0)], [(999, 0), (1, 0), (0, 0)]),
])
def test_at_most_a_thousand_addresses_are_kept_the_ready_ones_first(given, kept):
    found, cut = truncate([subset(ready, others, i) for i, (ready, others) in enumerate(given)], 1000)
    assert sizes(found) == kept
    assert cut is (given != kept)


def test_a_truncated_object_is_marked_and_the_mark_goes_with_the_surplus():
    cluster = SmallCluster([deployment(replicas=12), service()], max_endpoints_capacity=10)
    key = "default/web"
    assert cluster.store.require(Endpoints, key).metadata.annotations == {OVER_CAPACITY_ANNOTATION: "truncated"}
    assert sizes(cluster.store.require(Endpoints, key).subsets) == [(10, 0)]
    assert cluster.endpoints() == (12, 12)
    cluster.at(1, lambda: cluster.change(deployment(), replicas=8))
    cluster.run(10)
    assert cluster.store.require(Endpoints, key).metadata.annotations == {}
    assert sizes(cluster.store.require(Endpoints, key).subsets) == [(8, 0)]


@pytest.mark.parametrize(("by_zone", "ratios", "overloaded"), [
    ({"a": 3, "b": 3}, {"a": 0.5, "b": 0.5}, False),
    ({"a": 3, "b": 3}, {"a": 0.6, "b": 0.4}, False),
    ({"a": 3, "b": 3}, {"a": 0.61, "b": 0.39}, True),
    ({"a": 6}, {"a": 0.5, "b": 0.5}, True),
    ({"a": 3, "b": 3}, None, False),
    ({}, {"a": 0.5, "b": 0.5}, False),
])
def test_hints_are_made_anew_when_a_zone_carries_a_fifth_too_much(by_zone, ratios, overloaded):
    assert is_overloaded(by_zone, ratios) is overloaded


def hints(cluster):
    found = {}
    for piece in cluster.store.each(EndpointSlice):
        for endpoint in piece.endpoints:
            for zone in endpoint.hints.for_zones if endpoint.hints else ():
                found[zone.name] = found.get(zone.name, 0) + 1
    return found


def hinted_service():
    plain = service()
    annotations = {"service.kubernetes.io/topology-mode": "Auto"}
    return plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"annotations": annotations})})


def test_a_node_that_grows_draws_hints_to_its_zone():
    # As upstream, a first slice with hints for known zones stays as it is; the second one is where hints move.
    cluster = SmallCluster([deployment(replicas=12), hinted_service()], max_endpoints_per_slice=6)
    assert hints(cluster) == {"a": 4, "b": 4, "c": 4}

    def grow():
        node = cluster.store.require(Node, "n1")
        status = node.status.model_copy(update={"allocatable": {**node.status.allocatable, "cpu": "16"}})
        cluster.store.update_status(node.model_copy(update={"status": status}))

    cluster.at(1, grow)
    cluster.run(5)
    assert hints(cluster)["a"] > 4
    assert sum(hints(cluster).values()) == 12


def said(cluster):
    return [(e.type, e.reason, e.message, e.count) for e in cluster.store.events.entries if e.reason.startswith("Topology")]


def test_the_slice_controller_says_when_hints_come_and_why_they_go():
    cluster = SmallCluster([deployment(replicas=3), service()])

    def annotate():
        current = cluster.store.require(Service, "default/web")
        metadata = current.metadata.model_copy(update={"annotations": {"service.kubernetes.io/topology-mode": "Auto"}})
        cluster.store.update(current.model_copy(update={"metadata": metadata}))

    cluster.at(1, annotate)
    cluster.at(5, lambda: cluster.change(deployment(), replicas=2))
    cluster.run(20)
    enabled, disabled = said(cluster)
    assert enabled == ("Normal", "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4", 1)
    assert disabled[:3] == (
        "Warning", "TopologyAwareHintsDisabled", "Insufficient number of endpoints, addressType: IPv4")
    assert hints(cluster) == {}
