"""A small cluster that scenario tests build on."""

import pytest

from svcsim.errors import InputError
from svcsim.scenario import Scenario, loads

MANIFESTS = """
manifests:
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}
"""


def sample(text: str = "", **overrides: object) -> Scenario:
    """A scenario of the small cluster and what the text adds."""
    return loads(MANIFESTS + text, "s.yaml", overrides={path.replace("__", "."): value for path, value in overrides.items()})


def mistakes(text: str, manifests: str = MANIFESTS, overrides: dict | None = None) -> list[str]:
    """What is wrong with a scenario whose own text comes first, so that lines count from its beginning."""
    with pytest.raises(InputError) as caught:
        loads(text.rstrip("\n") + "\n" + manifests, "s.yaml", overrides=overrides)
    return [str(problem) for problem in caught.value.problems]


def mistake(text: str, manifests: str = MANIFESTS, overrides: dict | None = None) -> str:
    """The only thing that is wrong with a scenario."""
    [found] = mistakes(text, manifests, overrides)
    return found.removeprefix("s.yaml:")


def plain(value: object) -> object:
    """Data without the floats that remember their text, which a schema validator need not know."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, float) else value
