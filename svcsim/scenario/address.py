"""Where a workload sends: a URL such as `http://web.default.svc:80`, `udp://dns:53` or `nodePort://web.default:80`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from svcsim.spelling import nearest
from svcsim.validation import plain_kind

Scheme = Literal["http", "https", "tcp", "udp", "nodePort", "nodePort+udp", "loadBalancer", "loadBalancer+udp", "ingress"]
_SCHEMES: dict[str, Scheme] = {
    "http": "http", "https": "https", "tcp": "tcp", "udp": "udp", "nodeport": "nodePort", "nodeport+udp": "nodePort+udp",
    "loadbalancer": "loadBalancer", "loadbalancer+udp": "loadBalancer+udp",
}
_DEFAULT_PORTS = {"http": 80, "https": 443, "nodePort": 80, "loadBalancer": 80}
_URL = re.compile(
    r"([A-Za-z+]+)://(\[[0-9A-Fa-f:.]+\]|\$\([A-Z_][A-Z0-9_]*\)|[A-Za-z0-9_]([-A-Za-z0-9._]{0,251}[A-Za-z0-9_.])?)"
    r"(?::([A-Za-z0-9-]+|\$\([A-Z_][A-Z0-9_]*\)))?"
    r"(/[^\s?#]*)?(?:\?node=([a-z0-9][-a-z0-9.]*))?"
)


@dataclass(frozen=True, slots=True)
class Destination:
    """The parsed URL. `port` is a number, or the name of a Service's port; `node` is asked of a node port only."""

    scheme: Scheme
    host: str
    port: int | str
    path: str = ""
    node: str | None = None

    @property
    def protocol(self) -> Literal["TCP", "UDP"]:
        """The transport."""
        return "UDP" if self.scheme.endswith("udp") else "TCP"

    @property
    def is_node_port(self) -> bool:
        """Whether the Service is reached at a node's address and its node port; `port` is then the Service's own."""
        return self.scheme.startswith("nodePort")

    @property
    def is_variable(self) -> bool:
        """Whether the host is an environment variable of the client's container, as `$(WEB_SERVICE_HOST)`."""
        return self.host.startswith("$(")

    @property
    def is_variable_port(self) -> bool:
        """Whether the port is one."""
        return isinstance(self.port, str) and self.port.startswith("$(")

    def _of_variable(self) -> str:
        """The Service that a variable tells of; names of Services have dashes where variables have underscores."""
        name = re.sub(r"(_SERVICE_HOST|_PORT_\d+_(TCP|UDP|SCTP)_ADDR)$", "", self.host[2:-1])
        return name.lower().replace("_", "-")

    @property
    def is_load_balancer(self) -> bool:
        """Whether the Service is reached at the address of its balancer, whatever that is at the time."""
        return self.scheme.startswith("loadBalancer")

    @property
    def is_ingress(self) -> bool:
        """Whether the connection goes to the address that the status of an Ingress shows (`via: ingress` alone)."""
        return self.scheme == "ingress"

    @property
    def is_published(self) -> bool:
        """Whether clients learn the address as that of a public name: by a balancer's or an Ingress's status."""
        return self.is_load_balancer or self.is_ingress

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address rather than a name."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    def names_a_pod_of(self, service: tuple[str, str]) -> bool:
        """Whether the host, which means this Service, names one of its pods."""
        return not self.is_variable and self.host.lower().partition(".")[0] != service[1]

    @property
    def is_pod_of_foreign_service(self) -> bool:
        """Whether the host has the form `pod.service.namespace`, which any name of the Internet may have as well."""
        labels = self.host.lower().rstrip(".").split(".")
        return len(labels) == 3 and labels[-1] != "svc"

    def services(self, namespace: str = "default", domain: str = "cluster.local") -> tuple[tuple[str, str], ...]:
        """(namespace, name) of each Service that the host may mean, seen from a pod of `namespace`; none for another host.

        `web` is of the client's own namespace, `web.shop`, `web.shop.svc` and `web.shop.svc.cluster.local` of shop; a name
        before them is a pod's. What the search path leaves open is `a.b`: Service a of namespace b, or pod a of Service b.

        >>> Destination("http", "web-0.web.shop.svc", 80).services()
        (('shop', 'web'),)
        >>> Destination("http", "web-0.web", 80).services()
        (('web', 'web-0'), ('default', 'web'))
        """
        if self.is_address:
            return ()
        if self.is_variable:
            name = self._of_variable()
            return (("default" if name == "kubernetes" else namespace, name),)
        labels = self.host.lower().rstrip(".").split(".")
        zone = domain.split(".")
        if labels[-len(zone) - 1 :] == ["svc", *zone]:
            labels = labels[: -len(zone)]
        if labels[-1] == "svc" and len(labels) in {3, 4}:
            return ((labels[-2], labels[-3]),)
        if len(labels) == 1:
            return ((namespace, labels[0]),)
        if len(labels) == 2:
            return (labels[1], labels[0]), (namespace, labels[1])
        return ((labels[2], labels[1]),) if len(labels) == 3 else ()

    def service(
        self, exists: Callable[[tuple[str, str]], bool], namespace: str = "default", domain: str = "cluster.local"
    ) -> tuple[str, str] | None:
        """The one of `services` that exists, or else the first; None for another host."""
        found = self.services(namespace, domain)
        return next(filter(exists, found), found[0] if found else None)

    def __str__(self) -> str:
        if self.is_ingress:
            return "ingress"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}" + (f"?node={self.node}" if self.node else "")


def parse_destination(value: Any) -> Destination:
    """The destination that a URL names; ValueError says what would be right.

    >>> str(parse_destination("http://web"))
    'http://web:80'
    """
    if isinstance(value, Destination):
        return value
    if not isinstance(value, str):
        raise ValueError(f"a URL is expected, as 'http://web.default.svc:80', not {plain_kind(value)}")
    match = _URL.fullmatch(value.strip())
    if match is None:
        hint = " (write 'http://web.default.svc:80')" if "://" not in value else " (write scheme://host:port)"
        raise ValueError(f"not a URL: {plain_kind(value)}{hint}")
    written, host, _, port_text, path, node = match.groups()
    scheme = _SCHEMES.get(written.lower())
    if scheme is None:
        raise ValueError(f"unknown scheme {written!r}{nearest(written, _SCHEMES.values())}")
    port: int | str
    if port_text is None:
        if scheme not in _DEFAULT_PORTS:
            raise ValueError(f"a port is missing: {scheme}://{host}:PORT")
        port = _DEFAULT_PORTS[scheme]
    elif port_text.isdigit():
        port = int(port_text[:7])
        if not 1 <= port <= 65535:
            raise ValueError(f"a port lies between 1 and 65535 (got {port_text[:20]})")
    else:
        port = port_text
    if host.startswith("$(") and not re.search(r"_SERVICE_HOST\)$|_PORT_\d+_(TCP|UDP|SCTP)_ADDR\)$", host):
        raise ValueError(f"the variable of a Service's address is named as $(WEB_SERVICE_HOST), not {host}")
    if (host.startswith("$(") or (isinstance(port, str) and port.startswith("$("))) and scheme.startswith("nodePort"):
        raise ValueError("no variable tells of a node port")
    if isinstance(port, str) and port.startswith("$(") and not host.startswith("$("):
        raise ValueError("a port by variable goes with an address by variable, as http://$(WEB_SERVICE_HOST):$(WEB_SERVICE_PORT)")
    if node is not None and not scheme.startswith("nodePort"):
        raise ValueError("'?node=' chooses the node of a nodePort:// destination")
    return Destination(scheme, host.strip("[]"), port, path or "", node)


DestinationUrl = Annotated[
    Destination, BeforeValidator(parse_destination), PlainSerializer(str),
    WithJsonSchema({
        "type": "string", "pattern": "^(https?|tcp|udp|(nodePort|loadBalancer)(\\+udp)?)://.+$",
        "examples": ["http://web.default.svc:80", "udp://dns.kube-system:53", "nodePort://web.default:80",
                     "loadBalancer://web.default:80"],
    }),
]
"""A URL in the scenario file."""


INGRESS = Destination("ingress", "", 0)
"""`via: ingress`."""


def parse_via(value: Any) -> Destination:
    """Where a connection is made in place of a destination: `ingress`, or another URL."""
    if value == "ingress" or value is INGRESS:
        return INGRESS
    if isinstance(value, str) and "://" not in value:
        raise ValueError(f"'ingress' or a URL is expected, as 'nodePort://ingress.shop:80', not {plain_kind(value)}")
    return parse_destination(value)


ViaUrl = Annotated[
    Destination, BeforeValidator(parse_via), PlainSerializer(str),
    WithJsonSchema({
        "type": "string", "pattern": "^(ingress|(https?|tcp|(nodePort|loadBalancer))://.+)$",
        "examples": ["ingress", "nodePort://ingress-nginx-controller.ingress-nginx:80"],
    }),
]
"""`ingress` or a URL in the scenario file."""
