"""Cases of the kind `endpoints` about topology hints and traffic distribution."""

from __future__ import annotations

from svcsim.kube.api.endpoints import Endpoint, EndpointSlice
from svcsim.kube.controllers.topology_hints import (
    Changes,
    NodeShare,
    add_hints,
    cpu_by_zone,
    cpu_ratios,
    giving_and_receiving,
    hints_enabled,
    kept_hints,
    redistribute,
)
from svcsim.kube.controllers.traffic_distribution import reconcile_hints


def _endpoint(row: dict) -> Endpoint:
    hints: dict = {}
    if zones := row.get("zoneHints") or ([row["hint"]] if "hint" in row else None):
        hints["forZones"] = [{"name": zone} for zone in zones]
    if nodes := row.get("nodeHints"):
        hints["forNodes"] = [{"name": node} for node in nodes]
    return Endpoint.model_validate(
        {
            "addresses": [row["address"]],
            "conditions": {"ready": row["ready"]},
            "zone": row.get("zone"),
            "nodeName": row.get("nodeName"),
            "hints": hints or None,
        }
    )


def _slices(rows: list, prefix: str) -> tuple[EndpointSlice, ...]:
    return tuple(
        EndpointSlice.model_validate(
            {"metadata": {"name": f"{prefix}-{number}"}, "endpoints": [_endpoint(row) for row in rows_of_one]}
        )
        for number, rows_of_one in enumerate(rows)
    )


def _zones(slices: tuple[EndpointSlice, ...]) -> list[list[str]]:
    return [[zone.name for endpoint in each.endpoints if endpoint.hints for zone in endpoint.hints.for_zones] for each in slices]


def check_hints_enabled(given: dict, expect: dict) -> None:
    assert hints_enabled(given["annotations"]) == expect["hintsEnabled"]


def check_add_hints(given: dict, expect: dict) -> None:
    changes = Changes(_slices(given["slicesToCreate"], "create"), _slices(given["slicesToUpdate"], "update"))
    hinted = add_hints(changes, given["cpuRatiosByZone"])
    if expect["hints"] is None:
        assert hinted.refusal is not None
        assert expect["message"].startswith(hinted.refusal) or hinted.refusal in expect["message"]
        assert not any(_zones(hinted.changes.create) + _zones(hinted.changes.update))
        return
    assert hinted.refusal is None
    assert hinted.by_zone == expect["endpointsByZone"]
    assert _zones(hinted.changes.create) == expect["hints"]["create"]
    assert _zones(hinted.changes.update) == expect["hints"]["update"]


def check_set_nodes(given: dict, expect: dict) -> None:
    nodes = [
        NodeShare(row.get("zone") or "", row.get("cpuMilli") or 0, row["ready"], row["controlPlane"]) for row in given["nodes"]
    ]
    assert (cpu_by_zone(nodes) is not None) == expect["sufficientNodeInfo"]
    assert cpu_by_zone(nodes) == expect["cpuMilliByZone"]
    assert cpu_ratios(nodes) == expect["ratios"]


def check_redistribute(given: dict, expect: dict) -> None:
    rows = [
        {"address": f"10.0.0.{number}", "zone": zone, "ready": True, "hint": zone}
        for number, zone in enumerate(zone for zone, count in given["readyEndpointsHintedTo"].items() for _ in range(count))
    ]
    slices = [[_endpoint(row) for row in rows]]
    changes = redistribute(slices, given["givingZones"], given["receivingZones"])
    assert {zone: change for zone, change in changes.items() if change} == expect["redistributions"]


def check_giving_and_receiving(given: dict, expect: dict) -> None:
    giving, receiving = giving_and_receiving(given["desired"], given["allocatedHintsByZone"])
    assert (giving, receiving) == (expect["giving"], expect["receiving"])


def check_kept_hints(given: dict, expect: dict) -> None:
    endpoints = [_endpoint({**row, "address": row["address"] or "10.0.0.1"}) for row in given["endpoints"]]
    assert kept_hints(endpoints, given["maximumByZone"], given["allocatedHintsByZone"]) == expect["hintsByZone"]


def check_traffic_distribution(given: dict, expect: dict) -> None:
    names = ("toCreate", "toUpdate", "unchanged")
    made = reconcile_hints(Changes(*(_slices(given[name], name) for name in names)), given["trafficDistribution"])
    for name, slices in zip(names, (made.create, made.update, made.unchanged), strict=True):
        wanted = [each.endpoints for each in _slices(expect[name], name)]
        assert [each.endpoints for each in slices] == wanted, name


CHECKS = {
    "Test_hintsEnabled": check_hints_enabled,
    "TestAddHints": check_add_hints,
    "TestSetNodes": check_set_nodes,
    "Test_redistributeHints": check_redistribute,
    "Test_getGivingAndReceivingZones": check_giving_and_receiving,
    "Test_getHintsByZone": check_kept_hints,
    "TestReconcileHints": check_traffic_distribution,
}
