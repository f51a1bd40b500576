"""kube-proxy's health check servers: what a node answers a balancer."""

import json

import pytest

from svcsim.kubeproxy.service_health import health_answer


@pytest.mark.parametrize(
    ("local", "healthy", "status"), [(0, True, 503), (1, True, 200), (7, True, 200), (1, False, 503), (0, False, 503)]
)
def test_a_node_is_able_with_a_local_endpoint_and_a_healthy_proxy(local, healthy, status):
    assert health_answer("default/web", local, proxy_healthy=healthy).status == status


def test_the_body_counts_the_local_endpoints():
    body = json.loads(health_answer("shop/web", 2).body)
    assert body == {
        "service": {"namespace": "shop", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": True,
    }
