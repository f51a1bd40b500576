"""Topology hints share endpoints out over zones, and say so when they cannot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.controllers.topology_hints import OVERLOAD_THRESHOLD, Changes, add_hints, without_hints
from svcsim.kube.controllers.traffic_distribution import reconcile_hints

ZONES = ("a", "b", "c")


def endpoint_slice(zones: list[str], ready: list[bool]) -> EndpointSlice:
    endpoints = [
        {"addresses": [f"10.0.0.{number}"], "zone": zone, "conditions": {"ready": is_ready}, "nodeName": f"n{number}"}
        for number, (zone, is_ready) in enumerate(zip(zones, ready, strict=True))
    ]
    return EndpointSlice.model_validate({"metadata": {"name": "s", "namespace": "default"}, "endpoints": endpoints})


members = st.lists(st.tuples(st.sampled_from(ZONES), st.booleans()), min_size=1, max_size=40)
shares = st.lists(st.integers(1, 10), min_size=3, max_size=3)


@given(members, shares)
def test_each_ready_endpoint_has_one_hint_and_no_zone_is_overloaded(endpoints: list[tuple[str, bool]], cpu: list[int]) -> None:
    made = endpoint_slice([zone for zone, _ in endpoints], [ready for _, ready in endpoints])
    ratios = {zone: number / sum(cpu) for zone, number in zip(ZONES, cpu, strict=True)}
    hinted = add_hints(Changes(create=(made,)), ratios)
    (after,) = hinted.changes.create
    counts = dict.fromkeys(ZONES, 0)
    for endpoint in after.endpoints:
        if hinted.refusal is None and endpoint.conditions.ready:
            assert endpoint.hints is not None
            (zone,) = endpoint.hints.for_zones
            counts[zone.name] += 1
        else:
            assert endpoint.hints is None
    if hinted.refusal is None:
        total = sum(counts.values())
        assert {zone: count for zone, count in counts.items() if count} == {k: v for k, v in hinted.by_zone.items() if v}
        for zone, ratio in ratios.items():
            assert counts[zone] >= ratio * total / (1 + OVERLOAD_THRESHOLD) - 1


@given(members)
def test_hints_that_are_taken_away_leave_the_slice_as_it_was(endpoints: list[tuple[str, bool]]) -> None:
    bare = endpoint_slice([zone for zone, _ in endpoints], [ready for _, ready in endpoints])
    (hinted,) = reconcile_hints(Changes(create=(bare,)), "PreferSameNode").create
    changes = without_hints(Changes(unchanged=(hinted,)))
    assert (changes.update or changes.unchanged) == (bare,)


def test_a_ready_endpoint_without_a_zone_ends_the_hints() -> None:
    hinted = add_hints(Changes(create=(endpoint_slice(["a", ""], [True, True]),)), {"a": 0.5, "b": 0.5})
    assert hinted.refusal == "NoZoneSpecified"
