"""Kind `envvars-from-services`: the variables of Services, in order, and the rule of their names."""

from __future__ import annotations

from svcsim.kube.environment import service_variables, variable_name
from tests.conformance.kinds._environment import service

KIND = "envvars-from-services"


def run(vector: dict) -> None:
    rule = vector.get("name_rule", {})
    for name, expected in rule.get("vectors_current", ()):
        assert variable_name(name) == expected
    for name, expected in rule.get("vectors_old", ()):
        assert variable_name(name, legacy=True) == expected
    case = vector["case"]
    variables = service_variables(service(row) for row in case["services"])
    assert [{"name": each.name, "value": each.value} for each in variables] == case["expect"]
