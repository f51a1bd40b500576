"""Kind `api-create`: validation of a new Service, as it is given and after defaulting."""

from __future__ import annotations

from svcsim.kube.validation.service import validate_service
from tests.conformance.kinds._service_validation import accepted_after_defaults, check_errors

KIND = "api-create"


def run(vector: dict) -> None:
    case = vector["case"]
    check_errors(validate_service(case["service"]), case["expect"])
    if "accepted_after_defaults" in case["expect"]:
        assert accepted_after_defaults(case["service"]) == case["expect"]["accepted_after_defaults"]
