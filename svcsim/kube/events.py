"""Events, core/v1: what components say of the objects that they work on, as `kubectl get events` shows it.

What a component says again raises a count; the tenth different message of one reason about one object within ten minutes stands
for all further ones; and of one object a component says 25 things at once, then one in five minutes.
Source: client-go tools/record (event.go, events_cache.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from svcsim.kube.api.base import ObjectMeta
from svcsim.units import S

if TYPE_CHECKING:
    from svcsim.kube.client import Client
    from svcsim.kube.kinds import KubeObject

EventType = Literal["Normal", "Warning"]
MAX_SIMILAR = 10
SIMILAR_INTERVAL_NS = 600 * S
SPAM_BURST = 25
SPAM_REFILL_NS = 300 * S
RETRIES_NS = 120 * S
"""How long an event is kept for an API server that does not answer: twelve tries, ten seconds apart."""
NODE_NAMESPACE = "default"
"""Where the events of objects without a namespace stand."""
_COMBINED = "(combined from similar events): "


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    api_version: str

    @classmethod
    def of(cls, obj: KubeObject) -> Involved:
        """The reference to an object."""
        metadata: ObjectMeta = obj.metadata
        return cls(obj.kind, metadata.namespace, metadata.name, metadata.uid, obj.api_version)

    @property
    def text(self) -> str:
        """`pod/web-0`, as kubectl prints it."""
        return f"{self.kind.lower()}/{self.name}"


@dataclass(slots=True)
class ApiEvent:
    """One event: who says what of which object, how often, first and last when (simulated nanoseconds)."""

    name: str
    involved: Involved
    type: EventType
    reason: str
    message: str
    component: str
    host: str
    first_ns: int
    last_ns: int
    count: int = 1

    @property
    def namespace(self) -> str:
        """The event's own namespace: that of its object."""
        return self.involved.namespace or NODE_NAMESPACE


@dataclass(slots=True)
class _Similar:
    last_ns: int
    messages: dict[str, None]


@dataclass(slots=True)
class _Allowance:
    tokens: float
    at_ns: int


_Source = tuple[str, str, Involved]


class EventLog:
    """The events that the API server holds, in the order of their first occurrence."""

    __slots__ = ("_allowances", "_known", "_similar", "entries")

    def __init__(self) -> None:
        self.entries: list[ApiEvent] = []
        self._known: dict[tuple[_Source, EventType, str, str], ApiEvent] = {}
        self._similar: dict[tuple[_Source, EventType, str], _Similar] = {}
        self._allowances: dict[_Source, _Allowance] = {}

    def record(
        self, at_ns: int, component: str, host: str, involved: Involved, kind: EventType, reason: str, message: str
    ) -> None:
        """Write down what a component says, unless it says too much."""
        source = (component, host, involved)
        message, told = self._aggregated(at_ns, (source, kind, reason), message)
        if not self._allowed(at_ns, source):
            return
        key = (source, kind, reason, told)
        known = self._known.get(key)
        if known is not None:
            known.count += 1
            known.last_ns = at_ns
            known.message = message
            return
        name = f"{involved.name}.{len(self.entries):x}"
        made = self._known[key] = ApiEvent(name, involved, kind, reason, message, component, host, at_ns, at_ns)
        self.entries.append(made)

    def _aggregated(self, at_ns: int, key: tuple[_Source, EventType, str], message: str) -> tuple[str, str]:
        """(the message as it is written, what tells it from others of its reason)."""
        similar = self._similar.get(key)
        if similar is None or at_ns - similar.last_ns > SIMILAR_INTERVAL_NS:
            similar = self._similar[key] = _Similar(at_ns, {})
        similar.last_ns = at_ns
        similar.messages[message] = None
        if len(similar.messages) < MAX_SIMILAR:
            return message, message
        similar.messages.pop(next(iter(similar.messages)))
        return _COMBINED + message, _COMBINED

    def _allowed(self, at_ns: int, source: _Source) -> bool:
        allowance = self._allowances.get(source)
        if allowance is None:
            allowance = self._allowances[source] = _Allowance(SPAM_BURST, at_ns)
        allowance.tokens = min(SPAM_BURST, allowance.tokens + (at_ns - allowance.at_ns) / SPAM_REFILL_NS)
        allowance.at_ns = at_ns
        if allowance.tokens < 1:
            return False
        allowance.tokens -= 1
        return True


class EventRecorder:
    """How one component says what it does; while the API server is away it keeps that for two minutes."""

    __slots__ = ("_client", "component", "host")

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self.component = component
        self.host = host

    def normal(self, obj: KubeObject, reason: str, message: str) -> None:
        """Say what has been done."""
        self._record(obj, "Normal", reason, message)

    def warning(self, obj: KubeObject, reason: str, message: str) -> None:
        """Say what is wrong."""
        self._record(obj, "Warning", reason, message)

    def say(self, obj: KubeObject, kind: EventType, reason: str, message: str) -> None:
        """Say something of either type."""
        self._record(obj, kind, reason, message)

    def _record(self, obj: KubeObject, kind: EventType, reason: str, message: str) -> None:
        client, involved, at_ns = self._client, Involved.of(obj), self._client.clock.now

        def write() -> None:
            if client.clock.now - at_ns <= RETRIES_NS:
                client.store.events.record(at_ns, self.component, self.host, involved, kind, reason, message)

        client.when_reachable(write)
