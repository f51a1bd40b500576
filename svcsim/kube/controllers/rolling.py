"""How a Deployment's ReplicaSets are scaled next: one step of a roll-out, decided from counts alone.

Source: pkg/controller/deployment/rolling.go, recreate.go, sync.go (scale), util/deployment_util.go (NewRSNewReplicas,
ResolveFenceposts, GetReplicaSetProportion).

>>> fenceposts(None, None, 3)
(1, 0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from svcsim.kube.api.workloads import IntOrPercent

DEFAULT_SHARE = "25%"


@dataclass(frozen=True, slots=True)
class Revision:
    """A ReplicaSet as far as a roll-out looks at it. `desired` is the Deployment's size when it was last scaled (-1: unknown)."""

    name: str
    replicas: int
    available: int = 0
    desired: int = -1
    created: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """What a Deployment asks for."""

    replicas: int
    max_surge: int
    max_unavailable: int
    recreate: bool = False


def resolve(value: IntOrPercent, total: int, *, up: bool) -> int:
    """A number, or a percentage of a total, rounded up or down.

    >>> resolve("25%", 10, up=True), resolve("25%", 10, up=False), resolve(3, 10, up=True)
    (3, 2, 3)
    """
    if isinstance(value, int):
        return value
    text = value.strip()
    if text.endswith("%") and text[:-1].isdecimal():
        share = int(text[:-1]) * total
        return math.ceil(share / 100) if up else share // 100
    if text.isdecimal():
        return int(text)
    raise ValueError(f"not a number or a percentage: {value!r}")


def fenceposts(max_surge: IntOrPercent | None, max_unavailable: IntOrPercent | None, replicas: int) -> tuple[int, int]:
    """(surge, unavailable) of a Deployment of this size; if both come out as 0, one may be unavailable."""
    surge = resolve(DEFAULT_SHARE if max_surge is None else max_surge, replicas, up=True)
    unavailable = resolve(DEFAULT_SHARE if max_unavailable is None else max_unavailable, replicas, up=False)
    return (surge, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def new_replicas(target: Target, new: int, total: int) -> int:
    """How many replicas the new ReplicaSet, which has `new` of `total`, is to have now."""
    if target.recreate:
        return target.replicas
    room = target.replicas + target.max_surge - total
    return new if room <= 0 else new + min(room, target.replicas - new)


def is_scaling(target: Target, revisions: Sequence[Revision]) -> bool:
    """Whether the Deployment's size has changed since its ReplicaSets were scaled."""
    return any(each.replicas > 0 and each.desired not in (-1, target.replicas) for each in revisions)


def plan(target: Target, new: Revision | None, old: Sequence[Revision], *, old_pods_left: bool = False) -> dict[str, int]:
    """New sizes of ReplicaSets by name; one with its size as it is has to remember the Deployment's new size.

    `old_pods_left` matters to Recreate alone.
    A ReplicaSet to be created is not among `new` and `old`: its first size is `first_replicas`.
    """
    everything = [*([new] if new is not None else []), *old]
    if new is not None and is_scaling(target, everything):
        return _scaled(target, new, old)
    if target.recreate:
        down = {each.name: 0 for each in old if each.replicas}
        if down:
            return down
        return {} if old_pods_left or new is None else _changed(new, target.replicas)
    if new is None:
        return {}
    return _scaled_new(target, new, everything) or _scaled_down_old(target, new, old)


def first_replicas(target: Target, old: Sequence[Revision]) -> int:
    """The size with which the new ReplicaSet is created."""
    return new_replicas(target, 0, sum(each.replicas for each in old))


def _changed(revision: Revision, replicas: int) -> dict[str, int]:
    return {revision.name: replicas} if revision.replicas != replicas else {}


def _scaled_new(target: Target, new: Revision, everything: Sequence[Revision]) -> dict[str, int]:
    if new.replicas > target.replicas:
        return {new.name: target.replicas}
    return _changed(new, new_replicas(target, new.replicas, sum(each.replicas for each in everything)))


def _scaled_down_old(target: Target, new: Revision, old: Sequence[Revision]) -> dict[str, int]:
    total = new.replicas + sum(each.replicas for each in old)
    minimum = target.replicas - target.max_unavailable
    room = total - minimum - (new.replicas - new.available)
    if room <= 0 or not any(each.replicas for each in old):
        return {}
    sizes = {each.name: each.replicas for each in old}
    in_order = sorted(old, key=lambda each: each.created)
    cleaned = 0
    for each in in_order:
        unhealthy = min(room - cleaned, each.replicas - each.available)
        if unhealthy > 0:
            sizes[each.name] -= unhealthy
            cleaned += unhealthy
    spare = new.available + sum(each.available for each in old) - minimum
    for each in in_order:
        step = min(sizes[each.name], spare)
        if step > 0:
            sizes[each.name] -= step
            spare -= step
    return {each.name: sizes[each.name] for each in old if sizes[each.name] != each.replicas}


def _scaled(target: Target, new: Revision, old: Sequence[Revision]) -> dict[str, int]:
    """The size has changed: the only active ReplicaSet takes all of it, several share the change in proportion."""
    active = [each for each in (*old, new) if each.replicas > 0]
    if len(active) <= 1:
        return {(active[0] if active else new).name: target.replicas}
    if new.available == new.replicas == target.replicas:
        return {each.name: 0 for each in old if each.replicas}
    if target.recreate:
        return {}
    total = sum(each.replicas for each in active)
    allowed = target.replicas + target.max_surge if target.replicas > 0 else 0
    change = allowed - total
    # Growing starts with the largest, newest first among equals; shrinking with the largest, oldest first.
    in_order = sorted(active, key=lambda each: (-each.replicas, -each.created if change > 0 else each.created))
    sizes: dict[str, int] = {}
    given = 0
    for each in in_order:
        share = _proportion(each, target, change, given) if change else 0
        sizes[each.name] = each.replicas + share
        given += share
    sizes[in_order[0].name] = max(0, sizes[in_order[0].name] + change - given)
    return {each.name: sizes[each.name] for each in active}


def _proportion(revision: Revision, target: Target, change: int, given: int) -> int:
    before = revision.desired + target.max_surge if revision.desired > 0 else target.replicas
    wanted = round(revision.replicas * (target.replicas + target.max_surge) / before) - revision.replicas
    left = change - given
    return min(wanted, left) if change > 0 else max(wanted, left)
