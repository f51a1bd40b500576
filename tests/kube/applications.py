"""Well-known demo applications, whole: every Service and workload as published, built anew from these facts.

Images, resources, security contexts and the like are left out; svcsim ignores them, `tests/kube/manifests.py` has their shapes.
Facts from

    guestbook        kubernetes/examples guestbook/all-in-one/guestbook-all-in-one.yaml @2b1e860e
    Online Boutique  GoogleCloudPlatform/microservices-demo release/kubernetes-manifests.yaml @d23c1713
    Bookinfo         istio/istio samples/bookinfo/platform/kube/bookinfo.yaml @0c9b9a33
    Sock Shop        microservices-demo/microservices-demo deploy/kubernetes/complete-demo.yaml @03911819

all under the Apache License 2.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from svcsim.yamldump import dump

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Application:
    """Its manifests, the Service that people meet first, and what is left out of them."""

    manifests: tuple[Manifest, ...]
    front: str
    port: int = 80
    namespace: str = "default"
    left_out: str = ""

    @property
    def text(self) -> str:
        """One file with a document for each object, as they are published."""
        return "---\n".join(dump(manifest) for manifest in self.manifests)


def _service(name: str, labels: dict[str, str], *ports: Manifest, **more: Any) -> Manifest:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {**more, "ports": list(ports), "selector": labels}}


def _deployment(
    name: str, labels: dict[str, str], container: Manifest, *, version: str = "apps/v1", selected: bool = True,
    replicas: int | None = 1, metadata: Manifest | None = None, **pod: Any,
) -> Manifest:
    spec: Manifest = {} if replicas is None else {"replicas": replicas}
    if selected:
        spec["selector"] = {"matchLabels": labels}
    return {
        "apiVersion": version, "kind": "Deployment", "metadata": {"name": name, **(metadata or {})},
        "spec": {**spec, "template": {"metadata": {"labels": labels}, "spec": {**pod, "containers": [container]}}},
    }


def _guestbook() -> Iterator[Manifest]:
    for name, role, container, replicas in (("redis-master", "master", "master", 1), ("redis-replica", "replica", "replica", 2)):
        labels = {"app": "redis", "role": role, "tier": "backend"}
        port: Manifest = {"port": 6379, "targetPort": 6379} if role == "master" else {"port": 6379}
        yield _service(name, labels, port, metadata={"labels": labels})
        yield _deployment(name, labels, {"name": container, "ports": [{"containerPort": 6379}]}, replicas=replicas)
    labels = {"app": "guestbook", "tier": "frontend"}
    yield _service("frontend", labels, {"port": 80}, type="NodePort", metadata={"labels": labels})
    yield _deployment("frontend", labels, {"name": "php-redis", "ports": [{"containerPort": 80}]}, replicas=3)


BOUTIQUE = {  # Service's port, container's port, seconds until the first probe and between probes
    "emailservice": (5000, 8080, 0, 5), "checkoutservice": (5050, 5050, 0, 10), "recommendationservice": (8080, 8080, 0, 5),
    "frontend": (80, 8080, 10, 10), "paymentservice": (50051, 50051, 0, 10), "productcatalogservice": (3550, 3550, 0, 10),
    "cartservice": (7070, 7070, 15, 10), "currencyservice": (7000, 7000, 0, 10), "shippingservice": (50051, 50051, 0, 5),
    "redis-cart": (6379, 6379, 0, 5), "adservice": (9555, 9555, 20, 15),
}


def _boutique() -> Iterator[Manifest]:
    for name, (port, target, delay_s, period_s) in BOUTIQUE.items():
        check: Manifest = {"exec": {"command": ["/bin/grpc_health_probe", f"-addr=:{target}"]}}
        if name == "frontend":
            cookie = {"name": "Cookie", "value": "shop_session-id=x-readiness-probe"}
            check = {"httpGet": {"path": "/_healthz", "port": target, "httpHeaders": [cookie]}}
        elif name == "redis-cart":
            check = {"tcpSocket": {"port": target}}
        probe = {"initialDelaySeconds": delay_s, "periodSeconds": period_s, **check}
        container = {"name": "redis" if name == "redis-cart" else "server", "ports": [{"containerPort": target}],
                     "readinessProbe": probe, "livenessProbe": probe}
        yield _deployment(name, {"app": name}, container, replicas=None, serviceAccountName="default",
                          terminationGracePeriodSeconds=5)
        called = {"frontend": "http", "redis-cart": "redis"}.get(name, "grpc")
        yield _service(name, {"app": name}, {"name": called, "port": port, "targetPort": target}, type="ClusterIP")
    outside = {"name": "http", "port": 80, "targetPort": 8080}
    yield _service("frontend-external", {"app": "frontend"}, outside, type="LoadBalancer")
    users = {"name": "main", "env": [{"name": "FRONTEND_ADDR", "value": "frontend:80"}, {"name": "USERS", "value": "10"}]}
    yield _deployment("loadgenerator", {"app": "loadgenerator"}, users, initContainers=[{"name": "frontend-check"}],
                      restartPolicy="Always", terminationGracePeriodSeconds=5)


def _bookinfo() -> Iterator[Manifest]:
    for name, versions in (("details", ("v1",)), ("ratings", ("v1",)), ("reviews", ("v1", "v2", "v3")), ("productpage", ("v1",))):
        labels = {"app": name, "service": name}
        yield _service(name, {"app": name}, {"port": 9080, "name": "http"}, metadata={"labels": labels})
        yield {"apiVersion": "v1", "kind": "ServiceAccount",
               "metadata": {"name": f"bookinfo-{name}", "labels": {"account": name}}}
        for version in versions:
            of_version = {"app": name, "version": version}
            yield _deployment(f"{name}-{version}", of_version, {"name": name, "ports": [{"containerPort": 9080}]},
                              metadata={"labels": of_version}, serviceAccountName=f"bookinfo-{name}")


SOCK_SHOP = {  # the container's port and its name
    "cart-db": (27017, "mongo"), "cart": (80, ""), "catalogue-db": (3306, "mysql"), "catalogue": (80, ""),
    "front-end": (8079, ""), "orders-db": (27017, "mongo"), "orders": (80, ""), "payment": (80, ""), "queue-master": (80, ""),
    "rabbitmq": (5672, ""), "shipping": (80, ""), "user-db": (27017, "mongo"), "user": (80, ""), "zipkin": (9411, ""),
}


def _sock_shop() -> Iterator[Manifest]:
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sock-shop"}}
    for name, (number, called) in SOCK_SHOP.items():
        where = {"labels": {"name": name}, "namespace": "sock-shop"}
        port = {"containerPort": number} | ({"name": called} if called else {})
        yield _deployment(name, {"name": name}, {"name": name, "ports": [port]}, version="extensions/v1beta1", selected=False,
                          metadata=where)
        if name == "front-end":
            outside = {"port": 80, "targetPort": number, "nodePort": 31500}
            yield _service(name, {"name": name}, outside, type="NodePort", metadata=where)
        else:
            yield _service(name, {"name": name}, {"port": number, "targetPort": number}, metadata=where)


APPLICATIONS = {
    "guestbook": Application(tuple(_guestbook()), "frontend"),
    "Online Boutique": Application(tuple(_boutique()), "frontend-external"),
    "Bookinfo": Application(tuple(_bookinfo()), "productpage", 9080, left_out="4 ServiceAccount"),
    "Sock Shop": Application(tuple(_sock_shop()), "front-end", 80, "sock-shop", "1 Namespace"),
}
