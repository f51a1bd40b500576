"""Kind `api-traffic-policy`: validation of externalTrafficPolicy alone."""

from __future__ import annotations

from svcsim.kube.validation.service import validate_external_traffic_policy
from tests.conformance.kinds._service_validation import check_errors

KIND = "api-traffic-policy"


def run(vector: dict) -> None:
    case = vector["case"]
    check_errors(validate_external_traffic_policy(case["service"]["spec"]), case["expect"])
