"""How a component reaches the API server: its watches arrive after a latency, and it can be cut off.

A watch misses nothing: while its component or the API server is away, changes wait, and they arrive in order once the watch has
been re-established, which takes what is left of client-go's back-off (tools/cache/reflector.go). Writes in that time
raise `UnavailableError`; whoever wants to write again asks for `when_reachable`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from svcsim.engine.clock import Clock
from svcsim.engine.streams import Stream
from svcsim.kube.api.pod import Pod
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Change, Event, Object, Store, UnavailableError
from svcsim.kube.timings import Timings

Handler = Callable[[Event], None]


def reconnect_wait_ns(outage_ns: int, first_ns: int, longest_ns: int, uniforms: Callable[[int], float]) -> int:
    """How long after the end of an outage a watch tries again: attempts back off from `first_ns`, doubling, with jitter.

    `uniforms(i)` is the i-th attempt's draw; each wait is stretched by up to its own length, as client-go's jitter of 1.0.
    """
    at_ns, wait_ns, attempt = 0, first_ns, 0
    while at_ns < outage_ns:
        at_ns += wait_ns + int(wait_ns * uniforms(attempt))
        wait_ns = min(2 * wait_ns, longest_ns)
        attempt += 1
    return at_ns - outage_ns


class Watch:
    """The changes of some kinds on their way to one component, in order, with a single armed event of the clock."""

    __slots__ = ("_armed_ns", "_client", "_handler", "_last_due_ns", "_pending")

    def __init__(self, client: Client, handler: Handler) -> None:
        self._client = client
        self._handler = handler
        self._pending: deque[tuple[int, Event]] = deque()
        self._armed_ns: int | None = None
        self._last_due_ns = 0

    def push(self, event: Event) -> None:
        """A change has been stored: it arrives after the latency, never before an earlier one."""
        due_ns = self._client.clock.now + self._client.latency_ns(event)
        if due_ns < self._last_due_ns:
            due_ns = self._last_due_ns
        self._last_due_ns = due_ns
        self._pending.append((due_ns, event))
        if self._armed_ns is None and self._client.reachable:
            self._arm(due_ns)

    def resume(self, not_before_ns: int) -> None:
        """The component is back: what waited arrives at the given instant, or when it is due."""
        self._last_due_ns = max(self._last_due_ns, not_before_ns)
        if self._pending and self._armed_ns is None:
            self._arm(max(not_before_ns, self._pending[0][0]))

    def drop(self) -> None:
        """The component lost its state: what was on its way is in its next list."""
        self._pending.clear()
        self._armed_ns = None
        self._last_due_ns = 0

    def _arm(self, due_ns: int) -> None:
        self._armed_ns = due_ns
        clock = self._client.clock
        clock.after(due_ns - clock.now, self._deliver)

    def _deliver(self) -> None:
        now = self._client.clock.now
        if self._armed_ns != now:
            return  # armed before the component lost its state
        self._armed_ns = None
        if not self._client.reachable:
            return
        resumed_ns = self._client.resumed_ns
        pending = self._pending
        if now < resumed_ns:
            if pending:
                self._arm(resumed_ns)
            return
        while pending and pending[0][0] <= now:
            self._handler(pending.popleft()[1])
            if not self._client.reachable:
                return
        if pending and self._armed_ns is None:
            self._arm(pending[0][0])


class Switchboard:
    """All watches of a store, so that a write costs what there are watchers of it, not what there are components."""

    __slots__ = ("_by_kind", "_pods_by_node", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self._by_kind: dict[str, list[Watch]] = {}
        self._pods_by_node: dict[str, list[Watch]] = {}
        store.listen(Pod.__name__, self._pod_changed)

    def add(self, watch: Watch, kinds: Iterable[type[KubeObject]]) -> None:
        """Connect a watch to all objects of some kinds."""
        for kind in kinds:
            name = kind.__name__
            if name not in self._by_kind:
                self._by_kind[name] = []
                self.store.listen(name, self._changed)
            self._by_kind[name].append(watch)

    def add_pods_of(self, watch: Watch, node: str) -> None:
        """Connect a watch to the pods of a node (field selector `spec.nodeName`)."""
        self._pods_by_node.setdefault(node, []).append(watch)

    def remove(self, watch: Watch) -> None:
        """Nobody listens to this watch any more."""
        for watches in (*self._by_kind.values(), *self._pods_by_node.values()):
            if watch in watches:
                watches.remove(watch)

    def watchers(self, kind: str) -> int:
        """How many watch all objects of a kind."""
        return len(self._by_kind.get(kind, ()))

    def _changed(self, event: Event) -> None:
        for watch in self._by_kind[event.obj.kind]:
            watch.push(event)

    def _pod_changed(self, event: Event) -> None:
        pod = event.obj
        assert isinstance(pod, Pod)
        watches = self._pods_by_node.get(pod.spec.node_name)
        if watches:
            if event.change is Change.MODIFIED and isinstance(event.old, Pod) and not event.old.spec.node_name:
                event = Event(Change.ADDED, pod, None, event.ordinal, event.object_id)
            for watch in watches:
                watch.push(event)


class Client:
    """A component's connection to the API server, with the component's own latency of watches."""

    __slots__ = (
        "_board", "_connected", "_jitter", "_lost_ns", "_outages", "_timings", "_waiting", "_watches", "clock", "name",
        "resumed_ns", "store",
    )

    def __init__(self, board: Switchboard, clock: Clock, name: str, timings: Timings, seed: int) -> None:
        self._board = board
        self.store: Store = board.store
        self.clock = clock
        self.name = name
        self.resumed_ns = 0
        self._timings = timings
        self._jitter = Stream(seed, f"kube/watch/{name}")
        self._connected = True
        self._lost_ns: int | None = None
        self._outages = 0
        self._watches: list[Watch] = []
        self._waiting: list[Callable[[], None]] = []
        self.store.on_available(self._api_is_back)

    @property
    def reachable(self) -> bool:
        """Whether a request would be answered."""
        return self._connected and self.store.available

    def set_connected(self, connected: bool) -> None:
        """Cut the component off from the API server, or connect it again."""
        was_reachable = self.reachable
        if self._connected and not connected:
            self._lost_ns = self.clock.now if was_reachable else self.store.lost_ns
        self._connected = connected
        if not was_reachable and self.reachable:
            self._resume()

    def _api_is_back(self) -> None:
        if self._connected:
            self._resume()

    def _resume(self) -> None:
        self._outages += 1
        outage, timings = self._outages, self._timings
        lost_ns = self.store.lost_ns if self._lost_ns is None else self._lost_ns
        self._lost_ns = None
        wait_ns = reconnect_wait_ns(
            self.clock.now - lost_ns, timings.watch_backoff_ns, timings.watch_backoff_max_ns,
            lambda attempt: self._jitter.uniform(-outage, attempt),
        )
        self.resumed_ns = self.clock.now + wait_ns
        for watch in self._watches:
            watch.resume(self.resumed_ns)
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def start_anew(self) -> None:
        """The component's process has just started: it lists what there is, and its watches tell at once what comes later.

        Only a process that lived through an outage backs off.
        """
        for watch in self._watches:
            watch.drop()
        now = self.clock.now
        self.resumed_ns = min(self.resumed_ns, now)
        self._lost_ns = None if self.reachable else now

    def leave(self) -> None:
        """The component's process is gone for good: its watches end, and what it was to hear of or to do is forgotten."""
        for watch in self._watches:
            self._board.remove(watch)
            watch.drop()
        self._watches = []
        self._waiting = []

    def when_reachable(self, action: Callable[[], None]) -> None:
        """Call a function now, or as soon as the API server answers this component."""
        if self.reachable:
            action()
        else:
            self._waiting.append(action)

    def latency_ns(self, event: Event) -> int:
        """How long this change takes to this component: a draw of the component and the change."""
        timings = self._timings
        if not timings.watch_jitter_ns:
            return timings.watch_latency_ns
        uniform = self._jitter.uniform(event.object_id, event.ordinal)
        return timings.watch_latency_ns + int(uniform * timings.watch_jitter_ns)

    def watch(self, kinds: Iterable[type[KubeObject]], handler: Handler) -> Watch:
        """Have a function called with each change of some kinds, in order, from now on."""
        watch = Watch(self, handler)
        self._watches.append(watch)
        self._board.add(watch, kinds)
        return watch

    def watch_pods_of(self, node: str, handler: Handler) -> Watch:
        """Have a function called with each change of the pods of a node, in order, from now on."""
        watch = Watch(self, handler)
        self._watches.append(watch)
        self._board.add_pods_of(watch, node)
        return watch

    def get(self, model: type[Object], key: str) -> Object | None:
        """Read an object from the API server; UnavailableError."""
        self._require_reachable()
        return self.store.get(model, key)

    def create(self, obj: Object) -> Object:
        """Create an object; errors of `Store.create` and UnavailableError."""
        self._require_reachable()
        return self.store.create(obj)

    def update(self, obj: Object) -> Object:
        """Change an object; errors of `Store.update` and UnavailableError."""
        self._require_reachable()
        return self.store.update(obj)

    def update_status(self, obj: Object) -> Object:
        """Change an object's status; errors of `Store.update_status` and UnavailableError."""
        self._require_reachable()
        return self.store.update_status(obj)

    def delete(self, model: type[KubeObject], key: str, grace_seconds: int | None = None) -> None:
        """Delete an object; errors of `Store.delete` and UnavailableError."""
        self._require_reachable()
        self.store.delete(model, key, grace_seconds)

    def _require_reachable(self) -> None:
        if not self.reachable:
            raise UnavailableError(f"{self.name} cannot reach the API server")
