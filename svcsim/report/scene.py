"""What a scenario is about, in numbers: the line that stands above a run."""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicationController, StatefulSet
from svcsim.report.terminal import Scene
from svcsim.scenario.model import Scenario
from svcsim.scenario.unmeasured import unmeasured_costs
from svcsim.world.addressing import machines_of
from svcsim.world.naming import dns_objects


def scene_of(scenario: Scenario, variants: Iterable[Scenario] = ()) -> Scene:
    """Nodes, pods, Services, time and costs of a scenario; `variants` are those that are run, if others than itself."""
    nodes = len(machines_of(scenario))
    objects = [*scenario.objects, *dns_objects(scenario)]
    pods = sum(isinstance(obj, Pod) for obj in objects)
    for obj in objects:
        if isinstance(obj, Deployment | StatefulSet | ReplicationController):
            pods += 1 if obj.spec.replicas is None else obj.spec.replicas
        elif isinstance(obj, DaemonSet):
            pods += nodes
    services = sum(isinstance(obj, Service) for obj in objects) + sum(generator.count for generator in scenario.services)
    return Scene(
        scenario=scenario.name,
        nodes=nodes,
        pods=pods,
        services=services,
        duration_ns=scenario.run.duration_ns,
        seed=scenario.run.seed,
        profile=scenario.calibration.load().name,
        unmeasured_costs=unmeasured_costs(tuple(variants) or (scenario,)),
        replications=scenario.run.replications,
    )
