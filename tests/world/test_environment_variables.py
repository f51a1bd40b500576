"""Clients that find their target by variable: what a container was started without it never has."""

import pytest

from svcsim.errors import InputError
from svcsim.results.records import Outcome
from svcsim.scenario.loader import load, loads
from svcsim.sweep.runs import jobs_of, run_job
from tests.world.shipped import FOLDER


@pytest.fixture(scope="module")
def results():
    return {job.label: run_job(job, variant) for job, variant in jobs_of(load(FOLDER / "discovery" / "environment.yaml"))}


def failed(result, start_s, end_s):
    """Outcomes but success of the requests due in a window, with their numbers."""
    requests = result.requests
    within = (requests.start_ns >= start_s * 10**9) & (requests.start_ns < end_s * 10**9)
    outcomes = [Outcome(int(each)) for each in requests.outcome[within]]
    return {each: outcomes.count(each) for each in set(outcomes) - {Outcome.OK, Outcome.CLIENT_GONE}}, len(outcomes)


def test_a_service_that_comes_later_is_found_by_name_at_once(results):
    assert set(failed(results["by-name"], 0, 10)[0]) == {Outcome.DNS_FAILURE}
    assert failed(results["by-name"], 12, 25)[0] == {}


def test_by_variable_every_request_fails_until_its_client_starts_anew(results):
    outcomes, number = failed(results["by-variable"], 0, 25)
    assert outcomes == {Outcome.NO_VARIABLE: number}
    outcomes, number = failed(results["by-variable"], 29, 40)
    assert set(outcomes) == {Outcome.NO_VARIABLE}
    assert outcomes[Outcome.NO_VARIABLE] / number == pytest.approx(2 / 3, abs=0.06)
    assert failed(results["by-variable"], 50, 60)[0] == {}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://$(WEB_SERVICE_PORT):80", "the variable of a Service's address is named as $(WEB_SERVICE_HOST)"),
        ("http://web:$(WEB_SERVICE_PORT)", "a port by variable goes with an address by variable"),
        ("nodePort://$(WEB_SERVICE_HOST):80", "no variable tells of a node port"),
        ("http://$(WBE_SERVICE_HOST):80", "there is no Service 'wbe' in namespace 'default' (did you mean 'web'?)"),
    ],
)
def test_a_mistaken_variable_is_said_with_its_place(target, message):
    text = f"""
manifests:
  - {{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{ports: [{{port: 80}}]}}}}
workloads:
  - {{from: {{clients: 1}}, to: "{target}", arrivals: 1/s}}
"""
    with pytest.raises(InputError) as caught:
        loads(text, "scenario.yaml")
    assert message in str(caught.value)
    assert "scenario.yaml:5:" in str(caught.value)
