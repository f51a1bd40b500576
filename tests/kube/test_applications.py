"""Published demo applications are clusters with traffic as they stand: all of their Services find their pods."""

from collections import Counter

import pytest

import svcsim
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.manifests import parse_manifests
from svcsim.results.records import Outcome
from svcsim.world import build
from tests.kube.applications import APPLICATIONS


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_whole_application_loads_as_it_stands_and_its_front_answers(name):
    application = APPLICATIONS[name]
    loaded = parse_manifests(application.text)
    kinds = Counter(manifest["kind"] for manifest in application.manifests)
    read = {kind: kinds[kind] for kind in ("Service", "Deployment")}
    assert Counter(obj.kind for obj in loaded.objects) == read
    assert loaded.notes() == ([f"left out, without bearing on Services: {application.left_out}"] if application.left_out else [])

    target = f"http://{application.front}.{application.namespace}.svc:{application.port}"
    scenario = svcsim.loads(f"workloads: [{{to: '{target}', arrivals: 50/s}}]\nrun: {{duration: 3s}}\n---\n{application.text}")
    world = build(scenario)
    ready = {
        (piece.metadata.namespace, piece.metadata.labels["kubernetes.io/service-name"])
        for piece in world.store.each(EndpointSlice) if any(endpoint.conditions.ready for endpoint in piece.endpoints)
    }
    services = {(service.metadata.namespace, service.metadata.name) for service in world.store.each(Service)}
    assert services - {("kube-system", "kube-dns")} <= ready
    assert len(services) >= read["Service"]
    assert set(world.run().requests.outcome) == {Outcome.OK}
