"""A scenario to begin with: the text of one that runs as it is, with a comment on what to change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from svcsim.errors import UsageError
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import Deployment
from svcsim.kube.controllers.service_pods import selects
from svcsim.scenario.loader import loads
from svcsim.scenario.model import Scenario
from svcsim.spelling import nearest

_DEMO = """\
manifests:                                # ordinary Kubernetes objects; `- file: web.yaml` reads them from a file
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
            - name: web
              ports: [{containerPort: 8080}]
              readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 5}
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""

_TEXT = """\
# What happens to the traffic of {service} when one of its pods crashes?
#
# Change what you like; `svcsim validate {file}` says what is wrong, with the line. All keys: docs/scenario.md.
# For completion in an editor: svcsim schema > schema.json, and the line below.
# yaml-language-server: $schema=schema.json
apiVersion: svcsim/v1
kind: Scenario
metadata: {{name: {name}}}
{cluster}{manifests}
workloads:
  - name: load
    to: {url}
    arrivals: {{poisson: 200/s}}            # or {{constant: 200/s}}; `users: 50` is a closed loop
    connections: new                      # or keepalive
    timeout: 1s
servers:
  - match: {labels}
    serviceTime: {{lognormal: {{median: 2ms, p99: 8ms}}}}
    workers: 8
faults:
  - {{name: crash, at: 20s, kill: '{target}[0]'}}
  # - {{name: power-off, at: 40s, down: node/worker-2, for: 60s}}
  # - {{name: rollout, at: 40s, rollout: {target}}}
run: {{duration: 60s, warmup: 5s, seed: 1}}
compare:
  kubernetes.proxy: [iptables, ipvs/lc, nftables]
expect:                                   # exit code 1 if one does not hold
  - 'load: success > 99%'
  - 'load: p99 < 100ms during warmup..fault[crash]'
"""

_NODES = """\
cluster:
  nodes: {count: 3, cores: 4, zones: [a, b, c]}
  network: {rtt: {sameZone: 200us, crossZone: 1ms}}
"""


def starter(path: Path, files: Sequence[Path] = (), service: str | None = None) -> str:
    """The text of a scenario that stands at a path, about a demo or the objects of these files.

    UsageError or InputError if the files hold no such Service, no pods behind it, or mistakes.
    """
    name = path.name.removesuffix(".yaml").removesuffix(".yml") or "scenario"
    safe = "".join(sign if sign.isalnum() or sign in "-._" else "-" for sign in name).strip("-._") or "scenario"
    if not files:
        return _TEXT.format(
            service="a Service", file=path, name=safe, cluster=_NODES, manifests=_DEMO, url="http://web.default.svc:80",
            labels="{app: web}", target="deployment/web",
        )
    lines = ["manifests:"]
    for file in files:
        if not file.is_file():
            raise UsageError(f"can't read {file}: there is no such file")
        relative = os.path.relpath(file, path.parent)
        lines.append(f"  - file: {_quoted(relative)}")
    manifests = "\n".join(lines) + "\n"
    probe = loads(f"apiVersion: svcsim/v1\nkind: Scenario\nworkloads: []\n{manifests}", str(path), base=path.parent, name=safe)
    chosen, deployment = _chosen(probe, service)
    has_nodes = any(obj.kind == "Node" for obj in probe.objects)
    port = chosen.spec.ports[0].port
    namespace, own = chosen.metadata.namespace, chosen.metadata.name
    labels = ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in sorted((chosen.spec.selector or {}).items()))
    target = f"deployment/{deployment.metadata.name}"
    if namespace != "default":
        target = f"deployment/{namespace}/{deployment.metadata.name}"
    return _TEXT.format(
        service=f"Service {_key(chosen)}", file=path, name=safe, cluster="" if has_nodes else _NODES, manifests=manifests,
        url=f"http://{own}.{namespace}.svc:{port}", labels=f"{{{labels}}}", target=target,
    )


def _quoted(text: str) -> str:
    plain = all(sign.isalnum() or sign in "-._/" for sign in text) and text[:1].isalpha()
    return text if plain else "'" + text.replace("'", "''") + "'"


def _key(service: Service) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"


def _chosen(scenario: Scenario, wanted: str | None) -> tuple[Service, Deployment]:
    """The Service that traffic goes to, and a Deployment behind it."""
    services = {_key(obj): obj for obj in scenario.objects if isinstance(obj, Service)}
    # Cluster DNS is a Service, too, and rarely the one that is meant.
    services = dict(sorted(services.items(), key=lambda item: item[0].startswith("kube-system/")))
    deployments = [obj for obj in scenario.objects if isinstance(obj, Deployment)]
    if wanted is not None:
        key = wanted if "/" in wanted else f"default/{wanted}"
        if key not in services:
            raise UsageError(f"there is no Service {wanted!r} in the manifests{nearest(key, services)}")
        services = {key: services[key]}
    for service in services.values():
        if service.spec.type == "ExternalName" or not service.spec.selector or not service.spec.ports:
            continue
        for deployment in deployments:
            if deployment.metadata.namespace != service.metadata.namespace:
                continue
            if selects(service, deployment.spec.template.metadata.labels):
                return service, deployment
    what = f"Service {wanted}" if wanted is not None else "any Service of the manifests"
    raise UsageError(f"no Deployment stands behind {what}: give manifests with both, or name a Service with --service")
