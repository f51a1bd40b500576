"""Names of the chains that kube-proxy writes in iptables mode, and the probabilities of its `statistic` rules.

Source: pkg/proxy/iptables/proxier.go (portProtoHash, servicePortEndpointChainName, computeProbability).
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from functools import lru_cache

from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.linux.netfilter.rules import STATISTIC_ONE

SERVICES = "KUBE-SERVICES"
EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
NODE_PORTS = "KUBE-NODEPORTS"
POSTROUTING = "KUBE-POSTROUTING"
MARK_MASQ = "KUBE-MARK-MASQ"
FORWARD = "KUBE-FORWARD"
PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
KUBELET_FIREWALL = "KUBE-FIREWALL"

CLUSTER_POLICY = "KUBE-SVC-"
LOCAL_POLICY = "KUBE-SVL-"
EXTERNAL = "KUBE-EXT-"
FIREWALL = "KUBE-FW-"
ENDPOINT = "KUBE-SEP-"


def _hash(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest())[:16].decode()


def service_hash(name: ServicePortName) -> str:
    """What follows the prefix in the names of a Service port's chains.

    >>> service_hash(ServicePortName("ns1", "svc1", "p80"))
    'XPGD46QRK7WJZT7O'
    """
    return _hash(str(name) + name.protocol.lower())


def endpoint_chain(name: ServicePortName, endpoint: str) -> str:
    """The chain of one endpoint (`address:port`) of a Service port.

    >>> endpoint_chain(ServicePortName("ns1", "svc1", "p80"), "10.180.0.1:80")
    'KUBE-SEP-SXIVWICOYRO3J4NJ'
    """
    return ENDPOINT + _hash(str(name) + name.protocol.lower() + endpoint)


def probability(count: int) -> float:
    """1/count as kube-proxy writes it: ten decimals."""
    return float(f"{1.0 / count:.10f}")


@lru_cache(maxsize=4096)
def bounds(count: int) -> tuple[float, ...]:
    """Where the shares of `count` endpoints end in [0, 1), the last one left out: endpoint i has what lies below bound i.

    The same arithmetic as the walk's, with probabilities as the kernel stores them, so that both choose alike.
    """
    ends, passed = [], 0.0
    for left in range(count, 1, -1):
        effective = int(probability(left) * STATISTIC_ONE + 0.5) / STATISTIC_ONE
        passed += (1.0 - passed) * effective
        ends.append(passed)
    return tuple(ends)
