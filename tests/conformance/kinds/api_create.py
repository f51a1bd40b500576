"""Kind `api-create`: validation of a new Service, as it is given and after defaulting."""

from __future__ import annotations

from svcsim.kube.validation.service import validate_service
from tests.conformance.kinds._service_validation import check_errors

KIND = "api-create"


def run(vector: dict) -> None:
    case = vector["case"]
    check_errors(validate_service(case["service"]), case["expect"])
