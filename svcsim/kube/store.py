"""The API server's store: objects with resource versions, optimistic conflicts, graceful deletion, and who hears of changes.

The store itself is always there (it is etcd, and the truth of the run); components reach it through a client
(`svcsim.kube.client`) that may be cut off. Sources: apiserver pkg/registry/generic/registry/store.go;
kubernetes pkg/registry/core/pod/strategy.go (graceful deletion of pods).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar, cast

from svcsim.engine.clock import Clock
from svcsim.engine.streams import Stream, stream_seed
from svcsim.errors import UsageError
from svcsim.kube.api.pod import Pod
from svcsim.kube.events import EventLog
from svcsim.kube.kinds import KubeObject

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of generated names (apimachinery pkg/util/rand)."""

Object = TypeVar("Object", bound=KubeObject)


class ApiError(UsageError):
    """A request that the API server refused or did not answer; a user's own objects can cause it."""


class NotFoundError(ApiError):
    """There is no such object."""


class AlreadyExistsError(ApiError):
    """An object of that name is there."""


class ConflictError(ApiError):
    """The object has changed since it was read."""


class InvalidError(ApiError):
    """The object is not allowed to be so; the message says why."""


class UnavailableError(ApiError):
    """The API server does not answer."""


class Change(IntEnum):
    """What happened to an object."""

    ADDED = 0
    MODIFIED = 1
    DELETED = 2


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object; `old` is its value before (None if it was added), `ordinal` counts the object's changes."""

    change: Change
    obj: KubeObject
    old: KubeObject | None
    ordinal: int
    object_id: int


class Admission(Protocol):
    """What the API server does with objects of a kind on their way into the store. InvalidError refuses them."""

    def create(self, obj: KubeObject) -> KubeObject:
        """The object as it will be stored."""

    def update(self, old: KubeObject, new: KubeObject) -> KubeObject:
        """The changed object as it will be stored."""

    def delete(self, obj: KubeObject) -> None:
        """The object is gone."""


class Listener(Protocol):
    """Who is told of changes at once: the journal and the clients' watches."""

    def __call__(self, event: Event) -> None:
        """A change has been stored."""


def with_metadata(obj: Object, **changes: Any) -> Object:
    """The object with other values in its metadata."""
    return cast(Object, obj.model_copy(update={"metadata": obj.metadata.model_copy(update=changes)}))


class Store:
    """All objects of a cluster. Keys are `namespace/name`, or the name alone of kinds without namespace."""

    __slots__ = (
        "_admissions", "_clock", "_generated", "_ids", "_listeners", "_names", "_objects", "_ordinals", "_seed", "_version",
        "_on_available", "_on_unavailable", "available", "events", "lost_ns",
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        self._clock = clock
        self._seed = seed
        self._objects: dict[str, dict[str, KubeObject]] = {}
        self._ordinals: dict[tuple[str, str], int] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._generated: dict[str, int] = {}
        self._names = Stream(seed, "kube/names")
        self._version = 0
        self._listeners: dict[str, list[Listener]] = {}
        self._admissions: dict[str, Admission] = {}
        self._on_available: list[Callable[[], None]] = []
        self._on_unavailable: list[Callable[[], None]] = []
        self.available = True
        self.lost_ns = 0
        self.events = EventLog()

    @property
    def now(self) -> int:
        """The current instant in nanoseconds."""
        return self._clock.now

    def admit(self, kind: str, admission: Admission) -> None:
        """Let objects of a kind pass through an admission."""
        self._admissions[kind] = admission

    def listen(self, kind: str, listener: Listener) -> None:
        """Call a function with each change of a kind at the instant of the write."""
        self._listeners.setdefault(kind, []).append(listener)

    def set_available(self, available: bool) -> None:
        """Take the API server away, or bring it back."""
        if available == self.available:
            return
        if not available:
            self.lost_ns = self._clock.now
            for action in self._on_unavailable:
                action()
        self.available = available
        if available:
            for action in list(self._on_available):
                action()

    def on_available(self, action: Callable[[], None]) -> None:
        """Call a function whenever the API server is back."""
        self._on_available.append(action)

    def on_unavailable(self, action: Callable[[], None]) -> None:
        """Call a function whenever the API server is about to be away."""
        self._on_unavailable.append(action)

    def get(self, model: type[Object], key: str) -> Object | None:
        """The object of that key, None if there is none."""
        found = self._objects.get(model.__name__, {}).get(key)
        return found if isinstance(found, model) else None

    def require(self, model: type[Object], key: str) -> Object:
        """The object of that key; NotFoundError if there is none."""
        found = self.get(model, key)
        if found is None:
            raise NotFoundError(f"{model.__name__} {key} not found")
        return found

    def list(self, model: type[Object]) -> list[Object]:
        """All objects of a kind, in the order of their creation."""
        return list(self.each(model))

    def each(self, model: type[Object]) -> Iterator[Object]:
        """The objects of a kind one by one, in the order of their creation."""
        for obj in self._objects.get(model.__name__, {}).values():
            if isinstance(obj, model):
                yield obj

    def count(self, model: type[KubeObject]) -> int:
        """How many objects of a kind there are."""
        return len(self._objects.get(model.__name__, {}))

    def contains(self, kind: str, key: str) -> bool:
        """Whether there is an object of that kind and key."""
        return key in self._objects.get(kind, {})

    def create(self, obj: Object) -> Object:
        """Store a new object, with its generated name, uid and resource version; AlreadyExistsError, InvalidError."""
        stored = self._prepared(obj)
        self._put(Change.ADDED, stored, None)
        return stored

    def load(self, obj: Object) -> Object:
        """Store a new object that nobody is told of: the state that a run starts with. Errors as of `create`."""
        stored = self._prepared(obj)
        self._objects.setdefault(stored.kind, {})[stored.metadata.key] = stored
        return stored

    def unload(self, obj: KubeObject) -> None:
        """Remove an object of the initial state without telling anyone."""
        self._objects.get(obj.kind, {}).pop(obj.metadata.key, None)

    def reload(self, obj: KubeObject) -> None:
        """Change an object of the initial state without telling anyone; NotFoundError."""
        kind, key = obj.kind, obj.metadata.key
        if key not in self._objects.get(kind, {}):
            raise NotFoundError(f"{kind} {key} not found")
        self._objects[kind][key] = obj

    def update(self, obj: Object) -> Object:
        """Store a changed object; ConflictError if its resource version (0: any) is not the stored one's, NotFoundError.

        An object that is being deleted goes when its last finalizer does. A value equal to the stored one changes nothing.
        """
        kind, key = obj.kind, obj.metadata.key
        old = self._objects.get(kind, {}).get(key)
        if old is None or not isinstance(old, type(obj)):
            raise NotFoundError(f"{kind} {key} not found")
        given = obj.metadata.resource_version
        if given not in (0, old.metadata.resource_version):
            raise ConflictError(f"{kind} {key} has changed since it was read")
        new: KubeObject = with_metadata(
            obj,
            uid=old.metadata.uid,
            creation_ns=old.metadata.creation_ns,
            resource_version=old.metadata.resource_version,
            deletion_ns=old.metadata.deletion_ns,
            deletion_grace_period_seconds=old.metadata.deletion_grace_period_seconds,
        )
        admission = self._admissions.get(kind)
        if admission is not None:
            new = admission.update(old, new)
        if new == old:
            return old
        stored = self._versioned(cast(Object, new))
        if stored.metadata.deletion_ns is not None and not stored.metadata.finalizers and not isinstance(stored, Pod):
            self._remove(stored)
            return stored
        self._put(Change.MODIFIED, stored, old)
        return stored

    def update_status(self, obj: Object) -> Object:
        """Store an object's status alone: what else has changed in the meantime stays. NotFoundError."""
        current = self.require(type(obj), obj.metadata.key)
        if current.metadata.uid != obj.metadata.uid:
            raise NotFoundError(f"{obj.kind} {obj.metadata.key} is another one now")
        status = cast(Any, obj).status
        if cast(Any, current).status == status:
            return current
        stored = self._versioned(cast(Object, current.model_copy(update={"status": status})))
        self._put(Change.MODIFIED, stored, current)
        return stored

    def delete(self, model: type[KubeObject], key: str, grace_seconds: int | None = None) -> None:
        """Delete an object; NotFoundError.

        A pod that runs on a node is marked and stays until its kubelet has stopped it (`grace_seconds` 0: at once); an
        object with finalizers is marked and stays until they are gone.
        """
        obj = self.require(model, key)
        if isinstance(obj, Pod):
            grace = obj.spec.termination_grace_period_seconds if grace_seconds is None else grace_seconds
            if not obj.spec.node_name or obj.is_finished:
                grace = 0
            if grace <= 0 and not obj.metadata.finalizers:
                self._remove(obj)
                return
            if obj.is_terminating and grace >= (obj.metadata.deletion_grace_period_seconds or 0):
                return
            self._mark(obj, grace)
        elif obj.metadata.finalizers:
            if obj.metadata.deletion_ns is None:
                self._mark(obj, 0)
        else:
            self._remove(obj)

    def generated_suffix(self, owner_key: str, ordinal: int, length: int = 5) -> str:
        """The random end of a generated name, a function of who asks and how often it has asked before."""
        bits = self._names.bits(stream_seed(self._seed, owner_key), ordinal)
        letters = []
        for _ in range(length):
            bits, digit = divmod(bits, len(SUFFIX_ALPHABET))
            letters.append(SUFFIX_ALPHABET[digit])
        return "".join(letters)

    def _mark(self, obj: KubeObject, grace_seconds: int) -> None:
        first_ns = obj.metadata.deletion_ns
        marked = with_metadata(
            obj,
            deletion_ns=self._clock.now if first_ns is None else first_ns,
            deletion_grace_period_seconds=grace_seconds,
        )
        self._put(Change.MODIFIED, self._versioned(marked), obj)

    def _prepared(self, obj: Object) -> Object:
        name, namespace = obj.metadata.name, obj.metadata.namespace
        if not name and obj.metadata.generate_name:
            name = self._unused_name(obj.kind, obj.metadata.generate_name, namespace)
        key = f"{namespace}/{name}" if namespace else name
        if key in self._objects.get(obj.kind, {}):
            raise AlreadyExistsError(f"{obj.kind} {key} exists already")
        uid = obj.metadata.uid or self._uid(obj.kind, key)
        self._version += 1
        new = with_metadata(
            obj, name=name, uid=uid, creation_ns=self._clock.now, deletion_ns=None, resource_version=self._version
        )
        admission = self._admissions.get(obj.kind)
        return new if admission is None else cast(Object, admission.create(new))

    def _unused_name(self, kind: str, prefix: str, namespace: str) -> str:
        taken = self._objects.get(kind, {})
        asker = f"{kind}/{namespace}/{prefix}"
        while True:
            ordinal = self._generated.get(asker, 0)
            self._generated[asker] = ordinal + 1
            name = prefix + self.generated_suffix(asker, ordinal)
            if (f"{namespace}/{name}" if namespace else name) not in taken:
                return name

    def _uid(self, kind: str, key: str) -> str:
        ordinal = self._ordinals.get((kind, key), 0)
        seed = stream_seed(self._seed, f"uid/{kind}/{key}")
        high, low = self._names.bits(seed, 2 * ordinal), self._names.bits(seed, 2 * ordinal + 1)
        text = f"{high:016x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def _versioned(self, obj: Object) -> Object:
        self._version += 1
        return with_metadata(obj, resource_version=self._version)

    def _put(self, change: Change, obj: KubeObject, old: KubeObject | None) -> None:
        self._objects.setdefault(obj.kind, {})[obj.metadata.key] = obj
        self._tell(change, obj, old)

    def _remove(self, obj: KubeObject) -> None:
        kind, key = obj.kind, obj.metadata.key
        del self._objects[kind][key]
        admission = self._admissions.get(kind)
        if admission is not None:
            admission.delete(obj)
        self._tell(Change.DELETED, obj, obj)

    def _tell(self, change: Change, obj: KubeObject, old: KubeObject | None) -> None:
        name = (obj.kind, obj.metadata.key)
        ordinal = self._ordinals[name] = self._ordinals.get(name, 0) + 1
        listeners = self._listeners.get(obj.kind)
        if not listeners:
            return
        object_id = self._ids.get(name)
        if object_id is None:
            object_id = self._ids[name] = stream_seed(self._seed, f"{obj.kind}/{obj.metadata.key}")
        event = Event(change, obj, old, ordinal, object_id)
        for listener in listeners:
            listener(event)
