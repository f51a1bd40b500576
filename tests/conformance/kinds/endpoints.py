"""Kind `endpoints`: the controllers of Endpoints and EndpointSlices, hints, and kube-proxy's cache of slices."""

from __future__ import annotations

from collections.abc import Callable

from tests.conformance.kinds import (
    _endpoints_controller,
    _endpoints_hints,
    _endpoints_loops,
    _endpoints_mirroring,
    _endpoints_proxy,
    _endpoints_slices,
)

KIND = "endpoints"

CHECKS: dict[str, Callable[[dict, dict], None]] = {
    **_endpoints_controller.CHECKS,
    **_endpoints_hints.CHECKS,
    **_endpoints_loops.CHECKS,
    **_endpoints_mirroring.CHECKS,
    **_endpoints_proxy.CHECKS,
    **_endpoints_slices.CHECKS,
}


def run(vector: dict) -> None:
    case = vector["case"]
    test = case["test"]
    check = CHECKS.get(test)
    if check is None and test.startswith(_endpoints_controller.SYNC_PREFIX):
        check = _endpoints_controller.check_sync
    assert check is not None, f"no such group of cases: {test}"
    check(case["given"], case["expect"])
