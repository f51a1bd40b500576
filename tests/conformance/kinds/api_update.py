"""Kind `api-update`: validation of an update of a Service."""

from __future__ import annotations

from svcsim.kube.validation.service import validate_service_update
from tests.conformance.kinds._service_validation import check_errors

KIND = "api-update"


def run(vector: dict) -> None:
    case = vector["case"]
    check_errors(validate_service_update(case["new"], case["old"]), case["expect"])
