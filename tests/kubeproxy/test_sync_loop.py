"""When a kube-proxy syncs, and what its node's packets see when."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.engine.clock import PACKET, Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client, Switchboard
from svcsim.kube.store import Store, with_metadata
from svcsim.kube.timings import load_timings
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.pace import CompletionPace, TokenBucketPace
from svcsim.kubeproxy.sync_loop import KubeProxy, Prepared, SyncSettings
from svcsim.units import HOUR, MS, S

COST_NS = 20 * MS


class FakeProxier:
    """Keeps in `programmed` the Services that packets see."""

    def __init__(self, family="IPv4"):
        self.tracker = ChangeTracker(Catalogue(family), "n1")
        self.programmed = {}
        self.full = []

    def prepare(self, now_ns, *, full):
        changes = self.tracker.checkout()
        self.full.append(full)
        wanted = {key: dict(ports) for key, ports in self.tracker.services.items()}
        return Prepared(changes, full, len(changes.keys), len(wanted), lambda: self.programmed.__setitem__("now", wanted))

    def forget(self):
        self.programmed = {}
        self.tracker = ChangeTracker(self.tracker.catalogue, "n1")


class Node:
    def __init__(self, pace=None, period_ns=30 * S, phase=0.0):
        self.clock = Clock()
        self.journal = Journal()
        self.store = Store(self.clock)
        timings = load_timings(watch_latency_ns=5 * MS, watch_jitter_ns=0)
        self.client = Client(Switchboard(self.store), self.clock, "kube-proxy/n1", timings, 1)
        self.proxier = FakeProxier()
        self.committed = []
        self.proxy = KubeProxy(
            "n1", (self.proxier,), self.client, self.clock, self.journal, lambda: pace or CompletionPace(S),
            SyncSettings(period_ns, HOUR, 2 * S), lambda prepared, services: COST_NS,
            lambda proxier, changes: self.committed.append(self.clock.now),
        )
        self.proxy.settle(phase)

    def change(self, at_ns, name="s", port=80):
        spec = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": port}]}
        made = Service.model_validate({"metadata": {"name": name, "namespace": "d"}, "spec": spec})

        def write():
            old = self.store.get(Service, f"d/{name}")
            self.store.create(made) if old is None else self.store.update(with_metadata(made, uid=old.metadata.uid))

        self.clock.after(at_ns - self.clock.now, write)

    def syncs(self):
        return [(entry.detail["began_ns"], entry.at_ns) for entry in self.journal.entries if entry.kind is Happening.PROXY_SYNCED]


def test_packets_see_a_change_when_the_sync_has_been_written_not_before():
    node = Node()
    node.change(S)
    seen = {}
    committed_ns = S + 5 * MS + COST_NS
    for at_ns in (committed_ns - 1, committed_ns):
        node.clock.after(at_ns, lambda at_ns=at_ns: seen.update({at_ns: "d/s" in node.proxier.programmed["now"]}), PACKET)
    node.clock.run(2 * S)
    assert seen == {committed_ns - 1: False, committed_ns: True}
    (entry,) = node.journal.entries
    assert entry.detail == {"services": ("d/s",), "began_ns": S + 5 * MS, "rules": 1, "kind": "partial"}


def test_changes_during_a_sync_wait_for_the_next_one_an_interval_after_its_end():
    node = Node()
    node.change(S, port=80)
    node.change(S + 10 * MS, port=81)
    node.change(S + 500 * MS, port=82)
    node.clock.run(5 * S)
    first = S + 5 * MS
    second = first + COST_NS + S
    assert node.syncs() == [(first, first + COST_NS), (second, second + COST_NS)]


def test_older_versions_sync_twice_in_quick_succession_after_a_quiet_time():
    node = Node(TokenBucketPace(S, 2))
    for number in range(4):
        node.change(10 * S + number * 100 * MS, port=80 + number)
    node.clock.run(20 * S)
    began = [at for at, _ in node.syncs()]
    assert began[:2] == [10 * S + 5 * MS, 10 * S + 105 * MS]
    assert began[2] - began[0] == S
    assert len(began) == 3


def test_a_change_that_is_undone_before_the_sync_writes_nothing():
    node = Node()
    node.change(S, port=80)
    node.change(3 * S, port=81)
    node.change(3 * S + 10 * MS, port=82)
    node.change(3 * S + 20 * MS, port=81)
    node.clock.run(10 * S)
    assert len(node.syncs()) == 2


def test_it_syncs_at_least_each_period_without_a_word_when_nothing_has_changed():
    node = Node(period_ns=30 * S)
    node.clock.run(200 * S)
    assert node.proxy.syncs == 6
    assert node.journal.entries == []


def test_a_run_may_start_anywhere_in_the_period():
    node = Node(period_ns=30 * S, phase=0.75)
    node.clock.run(7 * S)
    assert node.proxy.syncs == 0
    node.clock.run(8 * S)
    assert node.proxy.syncs == 1
    node.clock.run(37 * S)
    assert node.proxy.syncs == 1
    node.clock.run(38 * S)
    assert node.proxy.syncs == 2


def test_a_stopped_proxy_leaves_the_rules_and_syncs_in_full_when_it_starts():
    node = Node()
    node.change(S)
    node.clock.after(5 * S, node.proxy.stop)
    node.change(6 * S, "later")
    node.clock.after(20 * S, node.proxy.start)
    node.clock.run(19 * S)
    assert set(node.proxier.programmed["now"]) == {"d/s"}
    node.clock.run(30 * S)
    assert set(node.proxier.programmed["now"]) == {"d/s", "d/later"}
    kinds = [entry.kind for entry in node.journal.entries]
    assert kinds == [Happening.PROXY_SYNCED, Happening.PROXY_STOPPED, Happening.PROXY_STARTED, Happening.PROXY_SYNCED]
    assert node.journal.entries[-1].detail["kind"] == "full"
    assert node.journal.entries[-1].at_ns == 22 * S + COST_NS


def test_a_sync_that_is_cut_short_writes_nothing():
    node = Node()
    node.change(S)
    node.clock.after(S + 10 * MS, node.proxy.stop)
    node.clock.run(10 * S)
    assert node.proxier.programmed["now"] == {}
    assert node.committed == []


def test_after_a_loss_of_power_everything_is_written_anew():
    node = Node()
    node.change(S)
    node.clock.after(5 * S, node.proxy.stop)
    node.clock.after(9 * S, lambda: node.proxy.start(forgotten=True))
    node.clock.run(10 * S)
    assert node.proxier.programmed == {}
    node.clock.run(20 * S)
    assert set(node.proxier.programmed["now"]) == {"d/s"}


def test_without_the_api_server_a_starting_proxy_waits():
    node = Node()
    node.clock.after(1 * S, node.proxy.stop)
    node.clock.after(2 * S, lambda: node.store.set_available(False))
    node.clock.after(3 * S, node.proxy.start)
    node.clock.after(60 * S, lambda: node.store.set_available(True))
    node.clock.run(100 * S)
    (started,) = [entry.at_ns for entry in node.journal.entries if entry.kind is Happening.PROXY_STARTED]
    assert started == 62 * S  # the kubelet starts it, and it takes its two seconds


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=40), st.integers(0, 2000), st.booleans())
def test_syncs_never_overlap_keep_their_distance_and_end_with_the_last_change_seen(times_ms, interval_ms, bucket):
    pace = TokenBucketPace(interval_ms * MS, 2) if bucket else CompletionPace(interval_ms * MS)
    node = Node(pace)
    for number, at_ms in enumerate(sorted(times_ms)):
        node.change(at_ms * MS, port=1000 + number)
    node.clock.run(60 * S)
    syncs = node.syncs()
    for (_, ended), (began, _) in pairwise(syncs):
        assert began >= ended
        if not bucket:
            assert began - ended >= interval_ms * MS
    if bucket and interval_ms:
        begins = [began for began, _ in syncs]
        assert all(third - first >= interval_ms * MS - 2 for first, third in zip(begins, begins[2:], strict=False))
    (ports,) = node.proxier.programmed["now"].values()
    assert [info.port for info in ports.values()] == [1000 + len(times_ms) - 1]


@pytest.mark.parametrize("deleted", [False, True])
def test_slices_count_as_changes_of_their_service(deleted):
    node = Node()
    node.change(0)
    piece = EndpointSlice.model_validate(
        {"metadata": {"name": "s-1", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}},
         "endpoints": [{"addresses": ["10.1.0.1"]}], "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]}
    )
    node.clock.after(5 * S, lambda: node.store.create(piece))
    if deleted:
        node.clock.after(10 * S, lambda: node.store.delete(EndpointSlice, "d/s-1"))
    node.clock.run(20 * S)
    assert [entry.detail["services"] for entry in node.journal.entries] == [("d/s",)] * (3 if deleted else 2)
    assert len(node.proxier.tracker.endpoints_of("d/s")) == (0 if deleted else 1)


def test_a_process_with_two_families_syncs_each_by_itself_and_both_when_it_starts():
    node = Node()
    ipv6 = FakeProxier("IPv6")
    node.proxy = KubeProxy(
        "n1", (node.proxier, ipv6), node.client, node.clock, node.journal, lambda: CompletionPace(S),
        SyncSettings(30 * S, HOUR, 2 * S), lambda prepared, services: COST_NS,
        lambda proxier, changes: node.committed.append(proxier),
    )
    node.proxy.settle()
    node.committed.clear()
    node.change(S)  # of IPv4 alone
    node.clock.run(5 * S)
    assert node.proxier in node.committed
    assert ipv6 not in node.committed
    node.proxy.stop()
    node.proxy.start()
    node.committed.clear()
    node.clock.run(10 * S)
    assert set(map(id, node.committed)) == {id(node.proxier), id(ipv6)}
    synced = [entry.detail for entry in node.journal.entries if entry.kind is Happening.PROXY_SYNCED and entry.at_ns > 5 * S]
    assert {(detail.get("family"), detail["kind"]) for detail in synced} >= {("IPv4", "full"), ("IPv6", "full")}
