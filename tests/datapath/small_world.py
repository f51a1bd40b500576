"""A few hosts and pods with hand-made rules, to watch single packets: no control plane, round numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.fabric import Fabric, FabricSettings
from svcsim.datapath.host import Charges, Host, Namespace
from svcsim.datapath.network import Network
from svcsim.engine.clock import Clock
from svcsim.engine.journal import Journal
from svcsim.linux.address import parse_address
from svcsim.linux.conntrack import Conntrack, Timeouts
from svcsim.linux.icmp import IcmpLimiter
from svcsim.linux.neighbour import Neighbours
from svcsim.linux.packet import TCP, UDP, Decision, Flow, Packet, Verdict
from svcsim.linux.ports import PortAllocator
from svcsim.units import MS, US, S
from svcsim.workload import distributions
from svcsim.workload.server import Server, ServerProfile

VIP = parse_address("10.96.0.10")
CHARGES = Charges(
    first_ns=8_000, first_miss_ns=7_700, service_rule_tcp_ns=6.0, service_rule_udp_ns=6.0, statistic_rule_tcp_ns=63.0,
    statistic_rule_udp_ns=60.0, masquerade_ns=561, masquerade_packet_ns=200, nat_packet_ns=6_400, plain_packet_ns=6_200,
    forward_ns=5_400, extra_unit_ns=500, unit_bytes=65536, reject_ns=1_000, client_send_ns=1_000, client_receive_ns=2_000,
    server_accept_ns=1_000, server_receive_ns=2_000, server_send_ns=1_000, udp_send_ns=800, udp_receive_ns=1_800,
    fresh_udp_send_ns=400,
)


@dataclass
class Route:
    delay_ns: int = 100 * US
    jitter_ns: int = 0
    loss: float = 0.0
    links: tuple = ()

    @property
    def is_rough(self):
        return bool(self.jitter_ns or self.loss or self.links)


@dataclass
class Topology:
    routes: dict = field(default_factory=dict)
    default: Route = field(default_factory=Route)

    def route(self, source, target):
        return self.routes.get((source, target), self.default)


@dataclass
class Rules:
    """A Service on VIP:80: its backends, in the order in which the uniform picks them; `verdict` overrides.

    `balance` stands for IPVS: it takes the packet and its backend, and says which flow keeps the connection.
    """

    backends: list
    verdict: Verdict | None = None
    balance: Callable[[Packet, int], Flow] | None = None
    masquerade: bool = False

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        if packet.destination != VIP:
            return Decision(Verdict.NO_MATCH, packet.destination, packet.destination_port, service_rules=2, rules=2)
        if self.verdict is not None or not self.backends:
            return Decision(
                self.verdict or Verdict.REJECT, packet.destination, packet.destination_port, service_rules=2, rules=2
            )
        backend = self.backends[int(uniform * len(self.backends))]
        flow = None if self.balance is None else self.balance(packet, backend)
        return Decision(
            Verdict.DNAT, backend, 8080, self.masquerade, service_rules=1, statistic_rules=1, rules=4, flow=flow
        )


class SmallWorld:
    """`nodes` nodes with one backend pod each and a client pod on node 0."""

    def __init__(
        self, nodes=2, settings=None, charges=CHARGES, service_ns=1 * MS, workers=4, conntrack_limit=10_000, timeouts=None,
        tap_of=None,
    ):
        self.clock = Clock()
        self.topology = Topology()
        self.journal = Journal()
        self.fabric = Fabric(self.clock, self.topology, settings or FabricSettings(), self.journal, 1)
        self.network = Network(self.fabric, tap_of(self.fabric) if tap_of else None)
        self.rules = Rules([])
        self.hosts, self.pods, self.servers = [], [], []
        profile = ServerProfile(distributions.constant(service_ns), workers)
        for i in range(nodes):
            host = Host(
                f"node-{i}", i, parse_address(f"192.168.0.{i + 1}"), charges, 4,
                Conntrack(conntrack_limit, timeouts or Timeouts()), IcmpLimiter(6, S), Neighbours(3_060 * MS), is_node=True,
            )
            host.path = self.rules
            self.fabric.add_host(host)
            self.hosts.append(host)
            pod = Namespace(f"pod-{i}", parse_address(f"10.244.{i}.2"), host, index=100 + i)
            self.fabric.add_namespace(pod)
            self.pods.append(pod)
            server = Server(profile, pod, i, self.network.exchanges, self.network.handshakes)
            pod.listeners[(TCP, 8080)] = pod.listeners[(UDP, 8080)] = server
            self.servers.append(server)
        self.rules.backends = [pod.address for pod in self.pods]
        self.client_pod = Namespace("client", parse_address("10.244.0.9"), self.hosts[0], index=99)
        self.fabric.add_namespace(self.client_pod)

    def outside_host(self):
        """A host outside the cluster, whose packets to the Service enter at node 0 and are masqueraded there."""
        self.rules.masquerade = True
        host = Host(
            "outside", len(self.fabric.hosts), parse_address("203.0.113.7"), CHARGES, 1, Conntrack(10_000, Timeouts()),
            IcmpLimiter(6, S), Neighbours(3_060 * MS), is_node=False,
        )
        self.fabric.add_host(host)
        self.fabric.outside_routes[VIP] = lambda client, protocol, port, key: self.hosts[0]
        return host

    def client(self):
        return Client(self)

    def run(self, until_ns):
        self.clock.run(until_ns)

    def at(self, when_ns, action):
        self.clock.after(when_ns - self.clock.now, action)

    def remove_pod(self, index):
        """The sandbox vanishes without a word, its rules stay."""
        self.servers[index].power_off()
        self.fabric.remove_namespace(self.pods[index])


class Client:
    """Records what happens to it."""

    def __init__(self, world):
        self.world = world
        self.events = []
        self.ports = PortAllocator(1)
        self.keys = 0
        self.then_send = True

    def connect(self, uniform=0.0, destination=VIP, port=80, namespace=None):
        self.keys += 1
        connection = Connection(
            self, namespace or self.world.client_pod, self.ports.take(self.world.clock.now), destination, port, TCP, self.keys,
            uniform,
        )
        self.world.network.handshakes.open(connection)
        return connection

    def datagram(self, connection):
        request = Request(self, self.keys, self.world.clock.now, 100, 100, 0.5, 0.0)
        request.connection = connection
        self.world.network.datagrams.send(request)
        return request

    def socket(self, uniform=0.0):
        self.keys += 1
        return Connection(self, self.world.client_pod, self.ports.take(0), VIP, 80, UDP, self.keys, uniform)

    def send(self, connection, answer_bytes=100, request_bytes=100):
        request = Request(self, self.keys, self.world.clock.now, request_bytes, answer_bytes, 0.5, 0.0)
        request.connection = connection
        self.world.network.exchanges.send(request)
        return request

    def note(self, what, at_ns, detail=None):
        self.events.append((what, at_ns, detail))

    def connected(self, connection, now_ns):
        self.note("connected", now_ns, connection.endpoint)

    def connect_failed(self, connection, outcome, now_ns):
        self.note("connect failed", now_ns, outcome)

    def answered(self, request, finish_ns):
        self.note("answered", finish_ns, request.connection.endpoint)
        if request.connection.protocol == UDP:
            self.world.network.datagrams.answered(request.connection)

    def failed(self, request, outcome, now_ns):
        self.note("failed", now_ns, outcome)

    def disconnected(self, connection, now_ns):
        self.note("disconnected", now_ns)

    def names(self):
        return [what for what, _, _ in self.events]


def charges(**changes):
    return replace(CHARGES, **changes)
