"""The machines of a world and the network between them, with the costs of the mode that each node runs."""

from __future__ import annotations

from svcsim.calibration.costs import Costs
from svcsim.datapath.fabric import Fabric, FabricSettings
from svcsim.datapath.host import Charges, Host
from svcsim.engine.clock import Clock
from svcsim.engine.journal import Journal
from svcsim.linux.address import parse_address
from svcsim.linux.congestion import WindowLimits
from svcsim.linux.conntrack import Conntrack, Timeouts
from svcsim.linux.icmp import IcmpLimiter
from svcsim.linux.neighbour import Neighbours
from svcsim.linux.tcp import TcpTimers
from svcsim.network.topology import Defaults, Edge, Topology, Vertex
from svcsim.scenario.model import Scenario
from svcsim.world.addressing import Machine
from svcsim.world.cloud import CLOUD_HOST, check_addresses, has_balancers

UNTRACKED = 1 << 40
"""Entries that a host outside the cluster may hold: it tracks nothing."""


def topology_of(scenario: Scenario, machines: tuple[Machine, ...]) -> Topology:
    """The graph of nodes and outside hosts, with what the scenario says of links."""
    network = scenario.cluster.network
    vertices = [Vertex(machine.name, machine.zone) for machine in machines]
    vertices += [Vertex(host.name, outside_rtt_ns=host.rtt_ns) for host in scenario.cluster.outside]
    if has_balancers(scenario):
        vertices.append(Vertex(CLOUD_HOST, outside_rtt_ns=scenario.cluster.cloud.rtt_ns))
    return Topology(
        tuple(vertices),
        Defaults(
            same_zone_rtt_ns=network.rtt.same_zone_ns, cross_zone_rtt_ns=network.rtt.cross_zone_ns, jitter_ns=network.jitter_ns,
            loss=network.loss, bandwidth_bit_per_s=network.bandwidth_bit_per_s, queue_bytes=network.queue_bytes,
        ),
        tuple(
            Edge(
                (link.between[0], link.between[1]), link.rtt_ns, link.jitter_ns, link.bandwidth_bit_per_s, link.queue_bytes,
                link.loss,
            )
            for link in network.links
        ),
    )


def charges_of(costs: Costs) -> Charges:
    """A mode's costs as the packet path charges them: work of the node on its CPU, work at sockets as delays at the ends.

    A process that waits for a message sleeps, so what arrives for it costs a wake-up; a SYN is answered by the kernel.
    """
    return Charges(
        first_ns=costs.first_ns,
        first_miss_ns=costs.first_miss_ns,
        service_rule_tcp_ns=costs.service_rule_tcp_ns,
        service_rule_udp_ns=costs.service_rule_udp_ns,
        statistic_rule_tcp_ns=costs.statistic_rule_tcp_ns,
        statistic_rule_udp_ns=costs.statistic_rule_udp_ns,
        masquerade_ns=costs.masquerade_ns,
        masquerade_packet_ns=costs.masquerade_packet_ns,
        nat_packet_ns=costs.nat_packet_ns,
        plain_packet_ns=costs.plain_packet_ns,
        forward_ns=costs.forward_ns,
        extra_unit_ns=costs.extra_unit_ns,
        unit_bytes=costs.unit_bytes,
        reject_ns=costs.reject_ns,
        client_send_ns=costs.send_tcp_ns,
        client_receive_ns=costs.receive_tcp_ns + costs.wakeup_ns,
        server_accept_ns=costs.handshake_send_ns + costs.handshake_receive_ns,
        server_receive_ns=costs.receive_tcp_ns + costs.wakeup_ns,
        server_send_ns=costs.send_tcp_ns,
        udp_send_ns=costs.send_udp_ns,
        udp_receive_ns=costs.receive_udp_ns + costs.wakeup_ns,
        fresh_udp_send_ns=costs.fresh_udp_send_ns,
        service_rule_knee=costs.service_rule_knee,
        service_rule_tcp_beyond_ns=costs.service_rule_tcp_beyond_ns,
        service_rule_udp_beyond_ns=costs.service_rule_udp_beyond_ns,
        cold_endpoint_ns=costs.cold_endpoint_ns,
        syn_send_ns=costs.handshake_send_ns,
        accept_ns=costs.accept_ns,
        fresh_udp_reply_ns=costs.fresh_udp_reply_ns,
        copy_ns_per_kib=costs.copy_ns_per_kib,
        further_copy_ns_per_kib=costs.extra_unit_sockets_ns / (costs.unit_bytes / 1024),
    )


def fabric_of(
    scenario: Scenario, machines: tuple[Machine, ...], costs: Costs, clock: Clock, journal: Journal, seed: int
) -> Fabric:
    """The network with all of its hosts: nodes first, in order, then those outside."""
    network, conntrack = scenario.cluster.network, scenario.cluster.conntrack
    kernel = costs.kernel
    settings = FabricSettings(
        cni=network.cni,
        segment=network.segment,
        hairpin=network.hairpin_mode != "none",
        timers=TcpTimers(
            syn_initial_ns=kernel.syn_initial_ns, syn_retries=kernel.syn_retries, syn_linear=kernel.syn_linear,
            data_floor_ns=kernel.data_floor_ns, data_ceiling_ns=kernel.data_ceiling_ns, data_retries=kernel.data_retries,
        ),
        windows=WindowLimits(network.tcp.max_window_bytes, network.tcp.slow_start_after_idle),
        resolve_clash=kernel.clash_resolution,
        datagram_migration=kernel.datagram_migration,
        remembers=conntrack.tcp_established_ns >= scenario.run.duration_ns,
    )
    fabric = Fabric(clock, topology_of(scenario, machines), settings, journal, seed)
    charges = charges_of(costs)
    timeouts = Timeouts(
        syn_sent_ns=conntrack.tcp_syn_sent_ns, established_ns=conntrack.tcp_established_ns,
        time_wait_ns=conntrack.tcp_time_wait_ns, close_ns=conntrack.tcp_close_ns, udp_ns=conntrack.udp_ns,
        udp_stream_ns=conntrack.udp_stream_ns,
    )

    def add(name: str, addresses: tuple[int, ...], cores: int, limit: int, *, is_node: bool) -> None:
        fabric.add_host(
            Host(
                name, len(fabric.hosts), addresses[0], charges, cores, Conntrack(limit, timeouts),
                IcmpLimiter(kernel.icmp_burst, kernel.icmp_interval_ns), Neighbours(kernel.neighbour_timeout_ns),
                is_node=is_node, further=addresses[1] if len(addresses) > 1 else 0,
            )
        )

    for machine in machines:
        add(machine.name, machine.addresses, machine.cores, conntrack.limit(machine.cores), is_node=True)
    for outside in scenario.cluster.outside:
        add(outside.name, tuple(map(parse_address, outside.address)), 1, UNTRACKED, is_node=False)
    if has_balancers(scenario):
        add(CLOUD_HOST, check_addresses(scenario.cluster.cloud), 1, UNTRACKED, is_node=False)
    return fabric
