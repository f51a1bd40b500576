"""What a scenario is about, in numbers: the line that stands above a run."""

from __future__ import annotations

from svcsim.calibration.costs import costs_of
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicationController, StatefulSet
from svcsim.report.terminal import Scene
from svcsim.scenario.model import Scenario
from svcsim.world.addressing import machines_of
from svcsim.world.naming import dns_objects


def scene_of(scenario: Scenario) -> Scene:
    """Nodes, pods, Services, time and costs of a scenario."""
    nodes = len(machines_of(scenario))
    objects = [*scenario.objects, *dns_objects(scenario)]
    pods = sum(isinstance(obj, Pod) for obj in objects)
    for obj in objects:
        if isinstance(obj, Deployment | StatefulSet | ReplicationController):
            pods += 1 if obj.spec.replicas is None else obj.spec.replicas
        elif isinstance(obj, DaemonSet):
            pods += nodes
    services = sum(isinstance(obj, Service) for obj in objects) + sum(generator.count for generator in scenario.services)
    profile = scenario.calibration.load()
    bases = profile.bases(costs_of(profile, scenario.kubernetes.mode, scenario.kubernetes.proxy.backend).mode_key)
    return Scene(
        scenario=scenario.name,
        nodes=nodes,
        pods=pods,
        services=services,
        duration_ns=scenario.run.duration_ns,
        seed=scenario.run.seed,
        profile=profile.name,
        unmeasured_costs=sum(count for basis, count in bases.items() if str(basis) != "measured"),
        replications=scenario.run.replications,
    )
