"""Where rules of the Service list lead, compiled: the choice that a chain's rules make, and how many of them it takes.

Each entry answers for a packet that its rule matched: the endpoint, whether the packet is marked for masquerade, and the rules
and `statistic` rules examined in the chains below. It reads and writes the same `recent` lists as the rules.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from svcsim.kubeproxy import iptables_chains as chains
from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.service_ports import ServicePortInfo
from svcsim.linux.address import Prefix
from svcsim.linux.netfilter.recent import RecentState


class Hit(NamedTuple):
    """What the chains below a rule do: `endpoint` is None where a packet comes back out of them.

    `endpoints` is how many the chain that has it chooses among, 0 where there is one alone.
    """

    endpoint: EndpointInfo | None
    marked: bool
    rules: int
    statistic_rules: int
    endpoints: int = 0


class Arrival(NamedTuple):
    """A packet at a rule, with the node's state."""

    source: int
    destination: int
    port: int
    uniform: float
    now_ns: int
    recent: RecentState
    is_local: Callable[[int], bool]


class PolicyChain:
    """A KUBE-SVC or KUBE-SVL chain with its KUBE-SEP chains. Masquerade rule: for all, for sources outside a block, or none."""

    def __init__(
        self,
        info: ServicePortInfo,
        endpoints: tuple[EndpointInfo, ...],
        masquerade_all: bool,
        masquerade_outside: Prefix | None,
    ) -> None:
        self.info = info
        self.endpoints = endpoints
        self.bounds = chains.bounds(len(endpoints))
        self.last = len(endpoints) - 1
        self.choices = len(endpoints) if self.last else 0
        self.affinity_seconds = info.affinity_seconds
        self.masquerade_all = masquerade_all
        self.outside = None if masquerade_all else masquerade_outside
        self.has_masquerade_rule = masquerade_all or self.outside is not None
        self.shift = 0
        self.inside = -1
        if self.outside is not None:
            self.shift = self.outside.bits - self.outside.length
            self.inside = self.outside.base >> self.shift

    @cached_property
    def lists(self) -> tuple[str, ...]:
        """The `recent` list of each endpoint."""
        return tuple(chains.endpoint_chain(self.info.name, each.text) for each in self.endpoints)

    def masquerades(self, source: int) -> bool:
        """Whether the chain's own rule marks a packet for the cluster IP from this source."""
        return self.masquerade_all or (self.outside is not None and source >> self.shift != self.inside)

    def enter(self, arrival: Arrival, *, marked: bool = False, rules: int = 0) -> Hit:
        """Go through the chain; always ends at an endpoint."""
        if self.has_masquerade_rule:
            rules += 1
            info = self.info
            if arrival.destination == info.cluster_ip and arrival.port == info.port and self.masquerades(arrival.source):
                rules += 1
                marked = True
        index, statistic = -1, 0
        if self.affinity_seconds is not None:
            index = self._remembered(arrival)
            rules += self.last + 1 if index < 0 else index + 1
        if index < 0:
            index = bisect_right(self.bounds, arrival.uniform)
            rules += index + 1
            statistic = min(index + 1, self.last)
        endpoint = self.endpoints[index]
        rules += 2
        if arrival.source == endpoint.address:
            rules += 1
            marked = True
        if self.affinity_seconds is not None:
            arrival.recent.stamp(self.lists[index], arrival.source, arrival.now_ns)
        return Hit(endpoint, marked, rules, statistic, self.choices)

    def _remembered(self, arrival: Arrival) -> int:
        """The first endpoint whose list has seen the source lately, -1 if none has."""
        recent, seconds = arrival.recent, self.affinity_seconds or 0
        for index, name in enumerate(self.lists):
            if recent.check(name, arrival.source, seconds, arrival.now_ns, reap=True):
                return index
        return -1


class Internal:
    """A cluster IP's rule: it leads to a policy chain. `plain` if that makes its choice by chance alone."""

    def __init__(self, chain: PolicyChain) -> None:
        self.chain = chain
        self.plain = chain.affinity_seconds is None

    def enter(self, arrival: Arrival) -> Hit:
        """Go through the chain."""
        return self.chain.enter(arrival)


class External:
    """A KUBE-EXT chain: for policy Cluster all is masqueraded; for Local, pods and the node itself use all endpoints and the
    rest only those of the node, with its source kept."""

    plain = False

    def __init__(
        self, cluster: PolicyChain | None, local: PolicyChain | None, pods: Prefix | None, *, policy_local: bool
    ) -> None:
        self.cluster = cluster
        self.local = local
        self.pods = pods
        self.policy_local = policy_local

    def enter(self, arrival: Arrival) -> Hit:
        """Go through the chain; comes back where policy Local has no endpoint for the packet."""
        if not self.policy_local:
            assert self.cluster is not None, "a port that is open to the outside and has endpoints has a cluster chain"
            return self.cluster.enter(arrival, marked=True, rules=3)
        rules = 0
        if self.pods is not None:
            rules = 1
            if arrival.source in self.pods and self.cluster is not None:
                return self.cluster.enter(arrival, rules=rules)
        if arrival.is_local(arrival.source) and self.cluster is not None:
            return self.cluster.enter(arrival, marked=True, rules=rules + 3)
        rules += 2
        if self.local is None:
            return Hit(None, False, rules, 0)
        return self.local.enter(arrival, rules=rules + 1)


class Firewall:
    """A KUBE-FW chain: packets of accepted sources go on to the KUBE-EXT chain, others come back and are dropped later."""

    plain = False

    def __init__(self, external: External, accepted: tuple[Prefix, ...]) -> None:
        self.external = external
        self.accepted = accepted

    def enter(self, arrival: Arrival) -> Hit:
        """Go through the chain."""
        rules = 0
        for block in self.accepted:
            rules += 1
            if arrival.source in block:
                hit = self.external.enter(arrival)
                rules += hit.rules
                if hit.endpoint is not None:
                    return hit._replace(rules=rules)
        return Hit(None, False, rules + 1, 0)


Entry = Internal | External | Firewall
