"""What the API server's store and its clients promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.clock import Clock
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client, Switchboard, reconnect_wait_ns
from svcsim.kube.store import AlreadyExistsError, Change, ConflictError, NotFoundError, Store, UnavailableError, with_metadata
from svcsim.kube.timings import load_timings, timing_sources
from svcsim.units import MS, S

TIMINGS = load_timings(watch_latency_ns=5 * MS, watch_jitter_ns=20 * MS)


def pod(name="p", node="", **metadata):
    return Pod.model_validate({"metadata": {"name": name, "namespace": "d", **metadata}, "spec": {"nodeName": node}})


class Cluster:
    def __init__(self):
        self.clock = Clock()
        self.store = Store(self.clock)
        self.board = Switchboard(self.store)

    def client(self, name="c"):
        return Client(self.board, self.clock, name, TIMINGS, 1)


@pytest.fixture
def cluster():
    return Cluster()


def test_a_write_with_an_old_resource_version_conflicts(cluster):
    first = cluster.store.create(pod())
    cluster.store.update(with_metadata(first, labels={"a": "1"}))
    with pytest.raises(ConflictError):
        cluster.store.update(with_metadata(first, labels={"a": "2"}))
    cluster.store.update(with_metadata(first, labels={"a": "3"}, resource_version=0))
    assert cluster.store.require(Pod, "d/p").metadata.labels == {"a": "3"}


def test_an_equal_value_is_no_change(cluster):
    first = cluster.store.create(pod())
    assert cluster.store.update(first).metadata.resource_version == first.metadata.resource_version


def test_a_status_write_keeps_what_else_has_changed(cluster):
    first = cluster.store.create(pod())
    cluster.store.update(with_metadata(first, labels={"a": "1"}))
    cluster.store.update_status(first.model_copy(update={"status": first.status.model_copy(update={"phase": "Running"})}))
    now = cluster.store.require(Pod, "d/p")
    assert (now.status.phase, now.metadata.labels) == ("Running", {"a": "1"})


def test_names_are_unique_and_generated_from_who_asks(cluster):
    with pytest.raises(AlreadyExistsError):
        [cluster.store.create(pod()) for _ in range(2)]
    names = [cluster.store.create(pod("", generateName="web-")).metadata.name for _ in range(50)]
    assert len(set(names)) == 50
    other = Cluster()
    other.store.create(pod("unrelated"))
    assert [other.store.create(pod("", generateName="web-")).metadata.name for _ in range(50)] == names


def test_a_scheduled_pod_is_marked_and_goes_when_its_kubelet_says_so(cluster):
    cluster.store.create(pod(node="n1"))
    cluster.clock.run(3 * S)
    cluster.store.delete(Pod, "d/p")
    marked = cluster.store.require(Pod, "d/p")
    assert (marked.metadata.deletion_ns, marked.metadata.deletion_grace_period_seconds) == (3 * S, 30)
    cluster.store.delete(Pod, "d/p", grace_seconds=0)
    assert cluster.store.get(Pod, "d/p") is None
    with pytest.raises(NotFoundError):
        cluster.store.delete(Pod, "d/p")


def test_a_pod_without_a_node_goes_at_once(cluster):
    cluster.store.create(pod())
    cluster.store.delete(Pod, "d/p")
    assert cluster.store.get(Pod, "d/p") is None


def test_an_object_stays_until_its_last_finalizer_is_gone(cluster):
    service = Service.model_validate({"metadata": {"name": "s", "namespace": "d", "finalizers": ["x/y"]}})
    cluster.store.create(service)
    cluster.store.delete(Service, "d/s")
    marked = cluster.store.require(Service, "d/s")
    assert marked.metadata.deletion_ns is not None
    cluster.store.update(with_metadata(marked, finalizers=()))
    assert cluster.store.get(Service, "d/s") is None


def test_changes_arrive_in_order_after_each_watchers_own_latency(cluster):
    seen = {name: [] for name in "abc"}
    for name, heard in seen.items():
        client = cluster.client(name)
        client.watch([Pod], lambda event, heard=heard: heard.append((cluster.clock.now, event.obj.metadata.name)))
    for index in range(20):
        cluster.clock.after(index * MS, lambda index=index: cluster.store.create(pod(f"p{index}")))
    cluster.clock.run(S)
    for heard in seen.values():
        assert [name for _, name in heard] == [f"p{index}" for index in range(20)]
        assert all(at - index * MS >= 5 * MS for index, (at, _) in enumerate(heard))
        assert max(at for at, _ in heard) <= 19 * MS + 25 * MS
    assert len({tuple(heard) for heard in map(tuple, seen.values())}) == 3


def test_a_node_hears_of_its_own_pods_alone_and_first_when_they_are_bound(cluster):
    heard = []
    cluster.client().watch_pods_of("n1", lambda event: heard.append((event.change, event.obj.metadata.name)))
    cluster.store.create(pod("a"))
    cluster.store.create(pod("b", node="n2"))
    unbound = cluster.store.require(Pod, "d/a")
    cluster.store.update(unbound.model_copy(update={"spec": unbound.spec.model_copy(update={"node_name": "n1"})}))
    cluster.clock.run(S)
    assert heard == [(Change.ADDED, "a")]


@pytest.mark.parametrize("fault", ["partition", "api away"])
def test_who_is_cut_off_misses_nothing_and_hears_it_in_order_when_it_is_back(cluster, fault):
    client = cluster.client()
    heard = []
    client.watch([Pod], lambda event: heard.append((cluster.clock.now, event.obj.metadata.name)))

    def cut(away):
        cluster.store.set_available(not away) if fault == "api away" else client.set_connected(not away)

    cluster.clock.after(1 * S, lambda: cut(True))
    for index in range(5):
        cluster.clock.after((1 + index) * S - MS, lambda index=index: cluster.store.create(pod(f"p{index}")))
    back = []
    cluster.clock.after(5 * S, lambda: client.when_reachable(lambda: back.append(cluster.clock.now)))
    cluster.clock.after(20 * S, lambda: cut(False))
    cluster.clock.run(10 * S)
    assert heard == []
    with pytest.raises(UnavailableError):
        client.get(Pod, "d/p0")
    cluster.clock.run(60 * S)
    assert [name for _, name in heard] == [f"p{index}" for index in range(5)]
    assert 20 * S <= heard[0][0] <= 20 * S + 60 * S
    assert back == [20 * S]


@given(st.integers(0, 10**12), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
def test_a_watch_is_back_within_its_longest_back_off(outage_ns, uniforms):
    wait = reconnect_wait_ns(outage_ns, 800 * MS, 30 * S, lambda attempt: uniforms[attempt % len(uniforms)])
    assert 0 <= wait <= 60 * S
    assert wait <= 4 * outage_ns + 1600 * MS


def test_every_default_says_where_it_comes_from():
    for entry in timing_sources():
        assert entry.basis in {"source", "documented", "derived", "assumed"}
        assert entry.source
    assert load_timings().kubelet_relist_ns == S
