"""Cluster DNS in a world: its pods and Service where the manifests bring none, what they know, and each pod's resolver."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from svcsim.datapath.host import Namespace
from svcsim.datapath.network import Network
from svcsim.engine.clock import Clock
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import Deployment
from svcsim.kube.client import Client
from svcsim.kube.dns.answers import DnsServer
from svcsim.kube.dns.cache import COREDNS, DNSMASQ, NODE_LOCAL
from svcsim.kube.dns.config import DnsConfig, upstream_host
from svcsim.kube.dns.lookup import Family, wanted_types
from svcsim.kube.dns.pod_dns import KubeletDns, PodDnsConfig, pod_resolv_conf
from svcsim.kube.dns.resolv_conf import ResolvConf, merge_options
from svcsim.kube.dns.resolver import Resolver
from svcsim.kube.dns.zone import Zone
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Change, Event, Store
from svcsim.kube.timings import Timings
from svcsim.linux.address import parse_address
from svcsim.scenario.model import Scenario
from svcsim.scenario.resolving import ClientResolver
from svcsim.units import S
from svcsim.workload import distributions
from svcsim.workload.name_server import NameService
from svcsim.workload.node_cache import NodeCaches
from svcsim.world.environments import api_server_service

DNS_NAMESPACE = "kube-system"
DNS_SERVICE = "kube-dns"
DNS_LABELS = {"k8s-app": "kube-dns"}
REVERSE_ZONES = ("in-addr.arpa.", "ip6.arpa.")
"""Zones that kubeadm's Corefile serves beside the cluster's, other addresses' names being asked of the upstream."""
NAMESPACES = ("default", DNS_NAMESPACE, "kube-public", "kube-node-lease")
"""Namespaces that every cluster has."""
NODE_LOCAL_ADDRESS = "169.254.20.10"
"""Where NodeLocal DNSCache listens on every node (kubernetes cluster/addons/dns/nodelocaldns)."""
DEFAULT_RESOLVER = ClientResolver()
COREDNS_CLUSTER_UNCACHED_SINCE = (1, 33)
"""kubeadm's Corefile excludes the cluster's domain from the cache from here on (kubernetes pull request 128359)."""
DEFAULT_TTL_NS = 30 * S
"""What kubeadm's Corefile sets, and kube-dns' own constant (see kube/data/timing.toml)."""


def resolves_names(scenario: Scenario) -> bool:
    """Whether any workload asks DNS: then the cluster needs one."""
    return any(
        (to := workload.target) is not None and not (to.is_published or to.is_address or to.is_node_port or to.is_variable)
        and workload.resolve.policy != "never" and (workload.from_ is None or workload.from_.outside is None)
        for workload in scenario.workloads
    )


def dns_address(scenario: Scenario) -> str:
    """The virtual IP of cluster DNS: that of the manifests' kube-dns Service, or the tenth of the service CIDR (kubeadm)."""
    for obj in scenario.objects:
        if isinstance(obj, Service) and obj.metadata.key == f"{DNS_NAMESPACE}/{DNS_SERVICE}" and obj.spec.cluster_ip:
            return obj.spec.cluster_ip
    return _tenth(scenario.kubernetes.service_cidr[0])


def _tenth(cidr: str) -> str:
    """The address of a service CIDR that cluster DNS has (kubeadm, GetDNSIP)."""
    return str(ip_network(cidr).network_address + 10)


def dns_objects(scenario: Scenario, *, asked: bool = False) -> list[KubeObject]:
    """The Service and Deployment of cluster DNS, unless the manifests hold them or nobody asks (`asked`: somebody will)."""
    present = any(obj.metadata.key == f"{DNS_NAMESPACE}/{DNS_SERVICE}" for obj in scenario.objects if isinstance(obj, Service))
    if present or not (asked or resolves_names(scenario)):
        return []
    dns = scenario.kubernetes.dns
    ports: list[dict[str, Any]] = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    addresses = [_tenth(cidr) for cidr in scenario.kubernetes.service_cidr]
    stack = {"clusterIPs": addresses, "ipFamilyPolicy": "RequireDualStack"} if len(addresses) > 1 else {}
    service = Service.model_validate(
        {
            "metadata": {"name": DNS_SERVICE, "namespace": DNS_NAMESPACE, "labels": DNS_LABELS},
            "spec": {"clusterIP": addresses[0], **stack, "selector": DNS_LABELS, "ports": ports},
        }
    )
    container = {
        "name": scenario.kubernetes.dns_server,
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
    }
    deployment = Deployment.model_validate(
        {
            "metadata": {"name": scenario.kubernetes.dns_server, "namespace": DNS_NAMESPACE, "labels": DNS_LABELS},
            "spec": {
                "replicas": dns.replicas,
                "selector": {"matchLabels": DNS_LABELS},
                "template": {"metadata": {"labels": DNS_LABELS}, "spec": {"containers": [container]}},
            },
        }
    )
    return [service, deployment]


class Naming:
    """What cluster DNS knows, shared by its pods, and the resolvers of the pods that ask it."""

    def __init__(self, scenario: Scenario, store: Store, *, asked: bool = False) -> None:
        dns = scenario.kubernetes.dns
        self._store = store
        self.zone = Zone()
        ttl_ns = DEFAULT_TTL_NS if dns.ttl_ns is None else dns.ttl_ns
        upstream = {
            f"{host.name.lower()}.": upstream_host(f"{host.name.lower()}.", tuple(map(parse_address, host.address)), ttl_ns // S)
            for host in scenario.cluster.outside
        }
        self.server = DnsServer(
            self.zone,
            DnsConfig(
                dialect=scenario.kubernetes.dns_server, zones=(f"{dns.domain}.", *REVERSE_ZONES), ttl=ttl_ns // S,
                pods="insecure",
                fallthrough=REVERSE_ZONES, own_service=(DNS_NAMESPACE, DNS_SERVICE), upstream=upstream,
            ),
        )
        asked_by_pods = NODE_LOCAL_ADDRESS if dns.node_local else dns_address(scenario)
        self._kubelet = KubeletDns(cluster_dns=(asked_by_pods,), cluster_domain=dns.domain, host=ResolvConf())
        self._asks = asked or resolves_names(scenario)
        self._dns = dns
        self._address = dns_address(scenario)
        self._api_server = api_server_service(scenario.kubernetes.service_cidr)
        minor = scenario.kubernetes.minor
        self._caches_cluster = dns.cache_cluster
        if self._caches_cluster is None:
            was_cached = minor is not None and minor < COREDNS_CLUSTER_UNCACHED_SINCE
            self._caches_cluster = was_cached or scenario.kubernetes.dns_server == "kube-dns"
        self._resolvers: dict[tuple[str, ClientResolver], Resolver] = {}

    def service(self, timings: Timings, clock: Clock) -> NameService:
        """What the pods of cluster DNS do with a question, each with a cache of its own."""
        limits = DNSMASQ if self.server.config.dialect == "kube-dns" else COREDNS
        life_ns = self._dns.cache_ns
        cache = None if life_ns == 0 else replace(
            limits, success_ns=min(limits.success_ns, life_ns) if limits is DNSMASQ else life_ns,
            denial_ns=min(limits.denial_ns, life_ns),
        )
        return NameService(
            self.server, timings.dns_upstream_ns, clock, cache, caches_cluster=bool(self._caches_cluster),
            autopath_domain=self._dns.domain if self._dns.autopath else None,
        )

    def node_caches(self, network: Network, timings: Timings, seed: int) -> NodeCaches | None:
        """NodeLocal DNSCache, where the scenario has it."""
        if not self._dns.node_local:
            return None
        work = distributions.exponential(timings.dns_service_ns)
        return NodeCaches(
            network, self.server, parse_address(NODE_LOCAL_ADDRESS), parse_address(self._address), work,
            timings.dns_upstream_ns, seed,
            replace(NODE_LOCAL, success_ns=timings.dns_node_cache_ns, denial_ns=timings.dns_node_cache_denial_ns),
        )

    def follow(self, client: Client) -> None:
        """Know what the API server holds, and hear of changes as the DNS server's watch delivers them."""
        for name in NAMESPACES:
            self.zone.set_namespace(name)
        self.zone.set_service(self._api_server)
        for service in client.store.each(Service):
            self.zone.set_service(service)
        for piece in client.store.each(EndpointSlice):
            self.zone.set_slice(piece)
        client.watch((Service, EndpointSlice), self._changed)

    def _changed(self, event: Event) -> None:
        obj, gone = event.obj, event.change is Change.DELETED
        if isinstance(obj, Service):
            if gone:
                self.zone.remove_service((obj.metadata.namespace, obj.metadata.name))
            else:
                self.zone.set_service(obj)
        elif isinstance(obj, EndpointSlice):
            if gone:
                self.zone.remove_slice(obj.metadata.key)
            else:
                self.zone.set_slice(obj)

    def known(self, resolver: Resolver, name: str, family: Family = "any") -> tuple[int, ...]:
        """What the resolver would have been told of a name, had it asked before; no queries are sent."""
        types = wanted_types(family, resolver.options)
        for candidate in resolver.names(name):
            addresses = tuple(address for each in types for address in self.server.answer(candidate, each).addresses())
            if addresses:
                return addresses
        return ()

    def resolver_of(self, namespace: Namespace, client: ClientResolver = DEFAULT_RESOLVER) -> Resolver | None:
        """The resolver of a pod's processes; None for hosts, whose resolver is not the cluster's.

        One that is kept goes on with what it has learned, a `new` process begins anew.
        """
        if namespace.is_host or not self._asks:
            return None
        key = (namespace.name, client)
        resolver = self._resolvers.get(key)
        if resolver is None:
            conf = self.resolv_conf(namespace.name)
            conf = ResolvConf(conf.nameservers, conf.searches, merge_options(conf.options, client.options))
            resolver = self._resolvers[key] = Resolver(conf, client.libc)
        return resolver.anew() if client.process == "new" else resolver

    def resolv_conf(self, pod: str) -> ResolvConf:
        """The resolv.conf that the kubelet has written for a pod (`namespace/name`), by its dnsPolicy and dnsConfig."""
        found = self._store.get(Pod, pod)
        if found is None:
            return pod_resolv_conf(self._kubelet, pod.partition("/")[0]).conf
        spec = found.spec
        added = None if spec.dns_config is None else PodDnsConfig(
            spec.dns_config.nameservers, spec.dns_config.searches,
            tuple(each.name if each.value is None else f"{each.name}:{each.value}" for each in spec.dns_config.options),
        )
        return pod_resolv_conf(self._kubelet, found.metadata.namespace, spec.dns_policy, added).conf
