"""What nobody uses: servers without pods, Services without pods, Ingresses without a controller."""

from __future__ import annotations

from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.api.service import Service
from svcsim.kube.ingress_annotations import without_effect
from svcsim.kube.ingress_rules import CLASS_ANNOTATION, class_of, is_own
from svcsim.scenario.checks.scope import NAMED, Scope


def note_servers(scope: Scope) -> None:
    """Note entries of servers that match no pod, and Services that select none."""
    pods = scope.there.pods
    for i, servers in enumerate(scope.scenario.servers):
        if pods and not any(servers.matches(namespace, labels) for namespace, labels in pods):
            scope.notes.append(f"servers[{i}]: no pod has the labels {servers.match}")
    alone = [
        obj.metadata.key
        for obj in scope.of_kind("service").values()
        if isinstance(obj, Service) and obj.spec.selector and obj.spec.type != "ExternalName"
        and not scope.there.has_pod(obj.metadata.namespace, obj.spec.selector.items())
    ]
    if alone:
        names = ", ".join(alone[:NAMED]) + (f" and {len(alone) - NAMED} more" if len(alone) > NAMED else "")
        scope.notes.append(f"no pod of the manifests is selected by: Service {names}")


def note_ingresses(scope: Scope) -> None:
    """Ingresses on which nobody acts, as an unknown class means, and annotations that bear on traffic and are not acted on."""
    declared = [servers.ingress for servers in scope.scenario.servers if servers.ingress is not None]
    classes = {name: obj for name, obj in scope.of_kind("ingressclass").items() if isinstance(obj, IngressClass)}
    for ingress in scope.of_kind("ingress").values():
        if not isinstance(ingress, Ingress):
            continue
        idle = list(without_effect(ingress.metadata.annotations))
        if idle:
            scope.notes.append(f"annotations of Ingress {ingress.metadata.key} have no effect: {'; '.join(idle)}")
        if not any(
            is_own(ingress, classes, each.class_, each.controller, without_class=each.watch_ingress_without_class)
            for each in declared
        ):
            named = class_of(ingress, classes.values())
            what = f"its class {named!r}" if named else "an Ingress without class"
            if declared and named and not ingress.metadata.annotations.get(CLASS_ANNOTATION) and named not in classes:
                why = f"there is no IngressClass {named!r}"
            else:
                why = f"no entry of servers is the ingress controller of {what}"
            scope.notes.append(f"nobody acts on Ingress {ingress.metadata.key}: {why}")
