"""Node 0 of the small world with something else than NAT rules: IPVS, or a userspace proxy."""

from svcsim.kubeproxy.userspace_proxy import DialTimeouts, ProxyCharges, ProxyPort, ProxyProcess
from svcsim.kubeproxy.userspace_udp import UdpProxyPort
from svcsim.linux.ipvs.fates import Dropped
from svcsim.linux.ipvs.settings import IpvsSysctls
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.packet import TCP, UDP, Decision, Verdict
from svcsim.units import MS, US, S
from tests.datapath.small_world import VIP

PROXY_PORT = 35000
DIALS = DialTimeouts((250 * MS, 500 * MS, 1 * S, 2 * S), 250 * MS)
CHARGES = ProxyCharges(accept_ns=20 * US, dial_ns=20 * US, copy_ns=10 * US, copy_ns_per_kib=200, sockets_ns=5 * US)


class Director:
    """Node 0 as an IPVS director with kube-proxy's sysctls; node 1 has no rules that match."""

    def __init__(self, world):
        self.world = world
        self.table = IpvsTable(IpvsSysctls(expire_nodest_conn=True, conntrack=True, conn_reuse_mode=0))
        self.services = {protocol: self.table.add_service(protocol, VIP, 80, "rr") for protocol in (TCP, UDP)}
        for pod in reversed(world.pods):
            for service in self.services.values():
                self.table.add_server(service, pod.address, 8080, 1, 0)
        world.hosts[0].path = self

    def decide(self, packet, uniform, now_ns):
        service = self.table.lookup(packet.protocol, packet.destination, packet.destination_port)
        if service is None:
            return Decision(Verdict.NO_MATCH, packet.destination, packet.destination_port)
        entry = self.table.connect(service, packet.source, packet.source_port, now_ns)
        if entry is None or isinstance(entry, Dropped):
            verdict = Verdict.REJECT if entry is None else Verdict.DROP
            return Decision(verdict, packet.destination, packet.destination_port)
        return Decision(Verdict.DNAT, entry.server.address, entry.server.port, flow=entry)

    def delete(self, index, protocol=TCP):
        address = self.world.pods[index].address
        server = next(one for one in self.services[protocol].servers if one.address == address)
        self.table.delete_server(server, self.world.clock.now)


class Captured:
    """Node 0 hands what is for the Service to its userspace proxy, which takes the pods of the other nodes in turn."""

    def __init__(self, world):
        self.world = world
        host = world.hosts[0]
        self.captures = True
        self.endpoints = [(pod.address, 8080) for pod in self.world.pods[1:]]
        self.resets = []
        self.turn = 0
        self.process = ProxyProcess(host, self.world.network, CHARGES, DIALS)
        self.tcp = host.namespace.listeners[(TCP, PROXY_PORT)] = ProxyPort(self.process, self.pick)
        self.udp = host.namespace.listeners[(UDP, PROXY_PORT)] = UdpProxyPort(self.process, self.pick)
        host.path = self

    def decide(self, packet, uniform, now_ns):
        if self.captures and packet.destination == VIP:
            address = self.world.hosts[0].address
            return Decision(Verdict.DNAT, address, PROXY_PORT, service_rules=1, rules=2)
        return Decision(Verdict.NO_MATCH, packet.destination, packet.destination_port, service_rules=1, rules=3)

    def pick(self, client, reset):
        self.resets.append(reset)
        if not self.endpoints:
            return None
        chosen = self.endpoints[self.turn % len(self.endpoints)]
        self.turn += 1
        return chosen

    def exit(self):
        self.process.running = False
        self.tcp.stop()
        self.udp.stop()
