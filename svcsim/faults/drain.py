"""`kubectl drain` at work: pods of cordoned nodes are evicted, those whose budget refuses are asked for again every 5 s.

DaemonSet and mirror pods stay, as with `--ignore-daemonsets`; pods without a controller go, as with `--force`.
Source: k8s.io/kubectl pkg/drain (drain.go, filters.go).
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.engine.clock import Clock
from svcsim.kube.api.pod import Pod
from svcsim.kube.controllers.owned_pods import controller_of
from svcsim.kube.eviction import evict
from svcsim.kube.store import NotFoundError, Store
from svcsim.units import S

RETRY_NS = 5 * S
POLL_NS = 1 * S
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


def pods_to_evict(store: Store, nodes: list[str]) -> list[Pod]:
    """The pods of nodes that a drain evicts."""
    return [
        pod for pod in store.each(Pod)
        if pod.spec.node_name in nodes
        and MIRROR_ANNOTATION not in pod.metadata.annotations
        and ((owner := controller_of(pod)) is None or owner.kind != "DaemonSet")
    ]


class Drain:
    """One drain. `tell` hears what holds it up and when it is over."""

    __slots__ = ("_clock", "_grace_s", "_left", "_stopped", "_store", "_tell", "_told")

    def __init__(self, store: Store, clock: Clock, pods: list[Pod], grace_s: int | None, tell: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._grace_s = grace_s
        self._tell = tell
        self._left = {pod.metadata.key: pod.metadata.uid for pod in pods}
        self._told: set[str] = set()
        self._stopped = False

    def start(self) -> None:
        """Ask for the eviction of every pod; each is asked for by itself."""
        for key in list(self._left):
            self._evict(key)
        self._clock.after(POLL_NS, self._look)

    def stop(self) -> None:
        """Evict nothing more."""
        self._stopped = True

    def _current(self, key: str) -> Pod | None:
        pod = self._store.get(Pod, key)
        return pod if pod is not None and pod.metadata.uid == self._left.get(key) else None

    def _evict(self, key: str) -> None:
        pod = self._current(key)
        if self._stopped or pod is None or pod.is_terminating:
            return
        if not self._store.available:
            self._stopped = True
            self._tell("drain gives up: the API server does not answer")
            return
        try:
            why = evict(pod, self._store, self._grace_s)
        except NotFoundError:
            return
        if why:
            if key not in self._told:
                self._told.add(key)
                self._tell(f"pod {key} is not evicted yet: {why}")
            self._clock.after(RETRY_NS, lambda: self._evict(key))

    def _look(self) -> None:
        if self._stopped:
            return
        if any(self._current(key) is not None for key in self._left):
            self._clock.after(POLL_NS, self._look)
        else:
            self._stopped = True
            self._tell("drained")
