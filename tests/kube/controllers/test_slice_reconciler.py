"""How few writes bring slices up to date. Cases from kubernetes/endpointslice@daa4d010 (reconciler_test.go, utils_test.go)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kube.api.endpoints import EndpointAddress, EndpointSubset
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.service_pods import endpoint_of, find_port
from svcsim.kube.controllers.slice_reconciler import SliceSettings, reconcile
from svcsim.kube.controllers.subsets import desired_endpoints, truncate

NODES = {
    name: Node.model_validate({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": f"zone-{name}"}}})
    for name in ("n1", "n2")
}


def service(**spec):
    metadata = {"name": "web", "namespace": "d", "uid": "service-uid", "labels": spec.pop("labels", {})}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    base = {"selector": {"a": "b"}, "ports": ports, "clusterIP": "10.0.0.10", "ipFamilies": ["IPv4"]}
    return Service.model_validate({"metadata": metadata, "spec": {**base, **spec}})


def pod(index, *, ready=True, node="n1", terminating=False, phase="Running", **spec):
    address = f"10.1.{index // 250}.{index % 250 + 1}"
    metadata = {"name": f"p{index}", "namespace": "d", "uid": f"u{index}", "deletionNs": 5 if terminating else None}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return Pod.model_validate(
        {
            "metadata": metadata,
            "spec": {"nodeName": node, **spec},
            "status": {"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions},
        }
    )


def pods(count):
    return [pod(index) for index in range(count)]


def written(plan):
    """The slices after a plan, with names for new ones."""
    made = [
        piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"name": f"new-{index}"})})
        for index, piece in enumerate(plan.create)
    ]
    return [*plan.unchanged, *plan.update, *made]


def slices_of(lengths, everything):
    found, start = [], 0
    for number, length in enumerate(lengths):
        plan = reconcile(service(), everything[start : start + length], NODES, [])
        found += [
            piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"name": f"s{number}"})})
            for piece in plan.create
        ]
        start += length
    return found


def lengths(pieces):
    return sorted(len(piece.endpoints) for piece in pieces)


@pytest.mark.parametrize(
    ("limit", "expected"), [(50, [50] * 5), (80, [10, 80, 80, 80]), (100, [50, 100, 100]), (150, [100, 150]), (500, [250])]
)
def test_many_pods_fill_slices_one_after_the_other(limit, expected):
    plan = reconcile(service(), pods(250), NODES, [], SliceSettings(limit))
    assert lengths(plan.create) == expected


def test_without_pods_there_is_an_empty_slice_and_it_stays():
    plan = reconcile(service(), [], NODES, [])
    assert [(piece.ports, piece.endpoints) for piece in plan.create] == [((), ())]
    assert reconcile(service(), [], NODES, written(plan)).writes == 0


def test_a_wrong_placeholder_is_made_over():
    (piece,) = written(reconcile(service(), [], NODES, []))
    wrong = piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"labels": {"bar": "baz"}})})
    plan = reconcile(service(), [], NODES, [wrong])
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)


def test_new_slices_are_preferred_to_filling_old_ones_when_that_takes_fewer_writes():
    everything = pods(300)
    plan = reconcile(service(), everything, NODES, slices_of([74, 74], everything))
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (2, 0, 0)
    assert lengths(written(plan)) == [52, 74, 74, 100]


def test_a_slice_that_is_written_anyway_is_filled_and_the_fullest_first():
    everything = [pod(index, ready=index % 10 != 0) for index in range(115)]
    before = slices_of([80, 20], [pod(index) for index in range(100)])
    plan = reconcile(service(), everything, NODES, before)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 2, 0)
    assert lengths(written(plan)) == [20, 95]


def test_a_changed_port_recycles_slices():
    everything = pods(300)
    before = slices_of([30] * 10, everything)
    assert reconcile(service(), everything, NODES, before).writes == 0
    moved = service(ports=[{"name": "http", "port": 80, "targetPort": 81}])
    plan = reconcile(moved, everything, NODES, before)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 3, 7)
    assert lengths(written(plan)) == [100, 100, 100]


def test_labels_of_the_service_are_copied_but_for_reserved_ones():
    everything = pods(250)
    before = slices_of([100, 100, 50], everything)
    assert len(reconcile(service(labels={"x": "y"}), everything, NODES, before).update) == 3
    reserved = {"kubernetes.io/service-name": "bad", "endpointslice.kubernetes.io/managed-by": "me"}
    assert reconcile(service(labels=reserved), everything, NODES, before).writes == 0


def test_a_slice_of_an_earlier_service_of_that_name_is_replaced():
    (piece,) = slices_of([3], pods(3))
    owner = piece.metadata.owner_references[0].model_copy(update={"uid": "someone else"})
    foreign = piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"owner_references": (owner,)})})
    plan = reconcile(service(), pods(3), NODES, [foreign])
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (1, 0, 1)


def test_pods_of_a_missing_node_are_left_out_unless_all_addresses_are_published():
    both = [pod(0), pod(1, node="gone")]
    plan = reconcile(service(), both, NODES, [])
    assert lengths(plan.create) == [1]
    assert plan.missing_nodes == ["gone"]
    assert lengths(reconcile(service(publishNotReadyAddresses=True), both, NODES, []).create) == [2]


@pytest.mark.parametrize(
    ("ready", "terminating", "publish", "expected"),
    [(True, False, False, (True, True, False)), (False, False, False, (False, False, False)),
     (True, True, False, (False, True, True)), (False, True, False, (False, False, True)),
     (False, False, True, (True, False, False)), (True, True, True, (True, True, True))],
)
def test_conditions_of_an_endpoint(ready, terminating, publish, expected):
    made = endpoint_of(pod(1, ready=ready, terminating=terminating), service(publishNotReadyAddresses=publish), "IPv4", "z")
    assert (made.conditions.ready, made.conditions.serving, made.conditions.terminating) == expected
    assert (made.node_name, made.zone) == ("n1", "z")


def test_a_named_target_port_is_looked_up_in_each_pod():
    named = service(ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    one = pod(0, containers=[{"ports": [{"name": "web", "containerPort": 1234}]}])
    two = pod(1, containers=[{"ports": [{"name": "web", "containerPort": 4321}]}])
    none = pod(2, containers=[{"ports": [{"name": "web", "containerPort": 9, "protocol": "UDP"}]}])
    plan = reconcile(named, [one, two, none], NODES, [])
    assert sorted((piece.ports[0].port if piece.ports else 0) for piece in plan.create) == [0, 1234, 4321]
    assert find_port(none, named.spec.ports[0]) is None


def test_a_dual_stack_service_has_slices_of_both_families():
    both = pod(0)
    ips = [{"ip": "1.2.3.4"}, {"ip": "1234::5678:0:0:9abc:def0"}]
    both = both.model_copy(update={"status": both.status.model_validate({"phase": "Running", "podIPs": ips})})
    plan = reconcile(service(ipFamilies=["IPv4", "IPv6"]), [both], NODES, [])
    assert {piece.address_type: piece.endpoints[0].addresses for piece in plan.create} == {
        "IPv4": ("1.2.3.4",), "IPv6": ("1234::5678:0:0:9abc:def0",),
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=6), st.integers(1, 12))
def test_whatever_comes_and_goes_slices_hold_each_pod_once_and_a_second_look_changes_nothing(rounds, limit):
    pieces = []
    for number, members in enumerate(rounds):
        present = [pod(index, ready=(index + number) % 3 > 0) for index in sorted(members)]
        plan = reconcile(service(), present, NODES, pieces, SliceSettings(limit))
        pieces = [
            piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"name": f"{number}-{place}"})})
            if piece.metadata.name.startswith("new-") or not piece.metadata.name
            else piece
            for place, piece in enumerate(written(plan))
        ]
        held = [endpoint.target_ref.name for piece in pieces for endpoint in piece.endpoints]
        assert sorted(held) == sorted(each.metadata.name for each in present)
        assert all(len(piece.endpoints) <= limit for piece in pieces)
        assert reconcile(service(), present, NODES, pieces, SliceSettings(limit)).writes == 0


def test_endpoints_sort_pods_by_readiness_and_leave_terminating_ones_out():
    made = desired_endpoints(service(), [pod(0), pod(1, ready=False), pod(2, terminating=True), pod(3, phase="Failed")], None)
    (subset,) = made.subsets
    assert [address.ip for address in subset.addresses] == ["10.1.0.1"]
    assert [address.ip for address in subset.not_ready_addresses] == ["10.1.0.2"]
    assert desired_endpoints(service(), [pod(0), pod(1, ready=False)], made) is None


def test_more_than_a_thousand_addresses_are_cut_and_marked():
    many = [pod(index, ready=index < 997) for index in range(1001)]
    made = desired_endpoints(service(), many, None)
    assert made.metadata.annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    assert sum(len(subset.addresses) for subset in made.subsets) == 997
    assert sum(len(subset.not_ready_addresses) for subset in made.subsets) == 3
    fewer = desired_endpoints(service(), many[:999], made)
    assert fewer.metadata.annotations == {}


@pytest.mark.parametrize(("ready", "others", "kept"), [(([50] * 5), ([250] * 5), 1000), ([300] * 5, [10] * 5, 1000)])
def test_truncation_keeps_exactly_the_capacity(ready, others, kept):
    subsets = [
        EndpointSubset(
            addresses=tuple(EndpointAddress(ip=f"1.{n}.{i // 250}.{i % 250}") for i in range(good)),
            not_ready_addresses=tuple(EndpointAddress(ip=f"2.{n}.{i // 250}.{i % 250}") for i in range(bad)),
        )
        for n, (good, bad) in enumerate(zip(ready, others, strict=True))
    ]
    after, cut = truncate(subsets, 1000)
    assert cut
    assert sum(len(each.addresses) + len(each.not_ready_addresses) for each in after) == kept
    assert sum(len(each.addresses) for each in after) == min(1000, sum(ready))
