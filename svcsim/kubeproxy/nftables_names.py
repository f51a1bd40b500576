"""Names of chains and sets in kube-proxy's nftables table.

Source: pkg/proxy/nftables/proxier.go, `hashAndTruncate`, `servicePortChainNameBase`, `servicePortEndpointChainNameBase`
(kubernetes 1.30 to 1.34); names of the fixed objects stand at the head of that file.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.linux.address import format_address

TABLE = "kube-proxy"
CLUSTER_IPS = "cluster-ips"
NODEPORT_IPS = "nodeport-ips"
FIREWALL_IPS = "firewall-ips"
NO_ENDPOINT_NODEPORTS = "no-endpoint-nodeports"
NO_ENDPOINT_SERVICES = "no-endpoint-services"
SERVICE_IPS = "service-ips"
SERVICE_NODEPORTS = "service-nodeports"

SERVICES = "services"
MARK_FOR_MASQUERADE = "mark-for-masquerade"
REJECT_CHAIN = "reject-chain"

NAME_LENGTH_MAX = 240
"""256, the kernel's limit for names, less 16 for the longest prefix (knftables NameLengthMax, chainNamePrefixLengthMax)."""


def hash_and_truncate(name: str) -> str:
    """The name behind the first eight characters of its hash, cut with an ellipsis where it is too long."""
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()
    name = f"{digest[:8]}-{name}"
    return name if len(name) <= NAME_LENGTH_MAX else name[: NAME_LENGTH_MAX - 3] + "..."


def service_base(name: ServicePortName) -> str:
    """What the chains of a Service port are called behind their prefix: `ULMVA6XW-ns1/svc1/tcp/p80`."""
    return hash_and_truncate(f"{name.namespace}/{name.name}/{name.protocol.lower()}/{name.port}")


@lru_cache(maxsize=1 << 16)
def endpoint_base(name: ServicePortName, address: int, port: int) -> str:
    """What an endpoint's chain and set are called behind their prefix: `5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80`."""
    host = format_address(address).replace(":", ".")
    return hash_and_truncate(f"{name.namespace}/{name.name}/{name.protocol.lower()}/{name.port}__{host}/{port}")
