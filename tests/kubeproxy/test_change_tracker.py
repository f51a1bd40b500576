from __future__ import annotations

from svcsim.kube.api.service import ServicePort
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.service_ports import ServicePortName, parse_prefix_sloppy, parse_sloppy
from svcsim.linux.address import Prefix, parse_address
from tests.kubeproxy.objects import endpoint, piece, service


def texts(tracker: ChangeTracker, name: str, protocol: str = "TCP") -> list[str]:
    return [str(each) for each in tracker.endpoints(ServicePortName("ns", name, "", protocol))]


def test_nothing_is_seen_before_a_sync_takes_it() -> None:
    tracker = ChangeTracker(Catalogue())
    assert tracker.on_service(service("web", "10.96.0.1", 80))
    assert tracker.services.get("ns/web") is None
    assert tracker.checkout().services == ("ns/web",)
    assert tracker.services.get("ns/web") is not None
    assert not tracker.has_pending


def test_a_change_that_is_undone_before_the_sync_is_no_change() -> None:
    tracker = ChangeTracker(Catalogue())
    before = service("web", "10.96.0.1", 80)
    tracker.on_service(before)
    tracker.on_slice(piece("web", "10.0.0.1"))
    tracker.checkout()
    tracker.on_service(service("web", "10.96.0.1", 81))
    tracker.on_slice(piece("web", "10.0.0.1", "10.0.0.2"))
    assert tracker.has_pending
    tracker.on_service(before)
    assert not tracker.on_slice(piece("web", "10.0.0.1"))
    assert tracker.checkout().keys == ()


def test_endpoints_are_sorted_as_texts_and_merged_over_slices() -> None:
    tracker = ChangeTracker(Catalogue(), "here")
    tracker.on_slice(piece("web", "10.0.0.2", endpoint("10.0.0.10", "there"), number=1))
    tracker.on_slice(piece("web", "10.0.0.2", endpoint("10.0.0.10", "here"), number=2))
    tracker.checkout()
    assert texts(tracker, "web") == ["10.0.0.10:8080", "10.0.0.2:8080"]
    assert tracker.endpoints(ServicePortName("ns", "web", ""))[0].node_name == "here"
    assert tracker.local_ready_endpoints() == {"ns/web": 1}


def test_headless_and_external_name_services_are_skipped() -> None:
    tracker = ChangeTracker(Catalogue())
    assert not tracker.on_service(service("headless", "None", 80))
    assert not tracker.on_service(service("alias", "", 80, type="ExternalName", external_name="example.com"))


def test_udp_endpoints_that_stop_serving_leave_conntrack_entries_to_clean() -> None:
    tracker = ChangeTracker(Catalogue())
    name = ServicePortName("ns", "dns", "", "UDP")
    tracker.on_service(service("dns", "10.96.0.10", ServicePort(port=53, protocol="UDP")))
    tracker.on_slice(piece("dns", endpoint("10.0.0.1", ready=False, serving=False), "10.0.0.2", protocol="UDP"))
    assert tracker.checkout().new_udp_services == (name,)
    tracker.on_slice(piece("dns", endpoint("10.0.0.2", ready=False, serving=True, terminating=True), protocol="UDP"))
    assert not tracker.checkout().conntrack_cleanup
    tracker.on_slice_deleted(piece("dns", protocol="UDP"))
    assert tracker.checkout().stale_udp_endpoints == ((name, "10.0.0.2:8080"),)
    tracker.on_service_deleted("ns/dns")
    assert [info.name for info in tracker.checkout().deleted_udp_services] == [name]


def test_nodes_read_an_object_once_between_them_and_share_what_they_read() -> None:
    catalogue = Catalogue()
    web, pods = service("web", "10.96.0.1", 80), piece("web", "10.0.0.1")
    nodes = [ChangeTracker(catalogue, f"node-{number}") for number in range(50)]
    for node in nodes:
        node.on_service(web)
        node.on_slice(pods)
        node.checkout()
    assert len({id(node.services.get("ns/web")) for node in nodes}) == 1
    assert len({id(node.endpoints_of("ns/web")) for node in nodes}) == 1
    assert catalogue.reads == 2


def test_a_node_that_starts_from_a_snapshot_changes_nothing_for_the_others() -> None:
    catalogue = Catalogue()
    snapshot = catalogue.snapshot([service("web", "10.96.0.1", 80)], [piece("web", "10.0.0.1")])
    one, other = ChangeTracker(catalogue, "one", snapshot), ChangeTracker(catalogue, "other", snapshot)
    one.on_slice(piece("web", "10.0.0.9"))
    one.checkout()
    assert texts(one, "web") == ["10.0.0.9:8080"]
    assert texts(other, "web") == ["10.0.0.1:8080"]


def test_leading_zeros_are_read_as_go_did() -> None:
    assert parse_sloppy("172.30.0.041") == parse_address("172.30.0.41")
    assert parse_sloppy("10.180.00.001") == parse_address("10.180.0.1")
    assert parse_prefix_sloppy(" 203.0.113.000/025") == Prefix.parse("203.0.113.0/25")
