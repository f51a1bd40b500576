"""`svcsim env`: a container's environment, as `env` and `printenv` in it would print it."""

import json

import pytest

from svcsim.cli.main import run

REDIS = """
kubernetes: {serviceCIDR: 10.0.0.0/16}
manifests:
  - apiVersion: v1
    kind: Service
    metadata: {name: redis-master}
    spec: {clusterIP: 10.0.0.11, selector: {app: redis}, ports: [{port: 6379}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: redis}
    spec:
      replicas: 1
      selector: {matchLabels: {app: redis}}
      template:
        metadata: {labels: {app: redis}}
        spec:
          containers:
            - name: redis
              env:
                - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
                - {name: URL, value: "redis://$(REDIS_MASTER_SERVICE_HOST)/$(NOBODY)"}
            - {name: beside}
  - {apiVersion: v1, kind: Pod, metadata: {name: closed}, spec: {enableServiceLinks: false, containers: [{name: a}]}}
workloads: [{from: {clients: 1}, to: "tcp://redis-master:6379", arrivals: 20/s}]
run: {duration: 5s}
"""

MASTER = """\
REDIS_MASTER_SERVICE_HOST=10.0.0.11
REDIS_MASTER_SERVICE_PORT=6379
REDIS_MASTER_PORT=tcp://10.0.0.11:6379
REDIS_MASTER_PORT_6379_TCP=tcp://10.0.0.11:6379
REDIS_MASTER_PORT_6379_TCP_PROTO=tcp
REDIS_MASTER_PORT_6379_TCP_PORT=6379
REDIS_MASTER_PORT_6379_TCP_ADDR=10.0.0.11
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "redis.yaml"
    path.write_text(REDIS, encoding="utf-8")
    return str(path)


def test_the_redis_master_of_the_documentation(capsys, scenario):
    assert run(["env", scenario, "deployment/redis[0]"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(MASTER)
    assert "KUBERNETES_SERVICE_HOST=10.0.0.1\n" in printed
    assert "URL=redis://10.0.0.11/$(NOBODY)\n" in printed


def test_variables_as_data_with_the_pods_own_fields(capsys, scenario):
    assert run(["env", scenario, "deployment/redis", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["ADDRESS"].startswith("10.244.")
    assert made["HOSTNAME"].startswith("redis-")
    assert run(["env", scenario, "deployment/redis", "-o", "json", "-c", "beside"]) == 0
    assert "ADDRESS" not in json.loads(capsys.readouterr().out)


def test_names_print_values_as_printenv_does(capsys, scenario):
    assert run(["env", scenario, "deployment/redis", "REDIS_MASTER_SERVICE_PORT"]) == 0
    assert capsys.readouterr().out == "6379\n"
    assert run(["env", scenario, "deployment/redis", "NOBODY"]) == 1


def test_without_service_links_only_the_api_server_is_told_of(capsys, scenario):
    assert run(["env", scenario, "closed"]) == 0
    printed = capsys.readouterr().out
    assert "REDIS" not in printed
    assert "KUBERNETES_SERVICE_PORT=443" in printed


def test_before_links_were_optional_every_pod_has_them(capsys, scenario):
    assert run(["env", scenario, "closed", "--set", "kubernetes.version=1.12"]) == 0
    assert MASTER in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deployment/rediss"], "no pod runs that is deployment/rediss"),
        (["node/worker-1"], "no pod runs that is node/worker-1"),
        (["deployment/redis", "-c", "reddis"], "has no container 'reddis' (did you mean 'redis'?)"),
        (["deployment/redis", "--at", "x"], "--at: "),
    ],
)
def test_mistakes_are_said_in_a_line(capsys, scenario, arguments, message):
    assert run(["env", scenario, *arguments]) == 2
    assert message in capsys.readouterr().err
