"""Userspace mode: the kernel only captures, in the order in which Services appeared."""

from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.round_robin import RoundRobin, keyed_shuffle
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.userspace_proxier import UserspaceProxier
from svcsim.linux.address import parse_address
from svcsim.linux.packet import TCP, UDP, Hook, Packet, Verdict

NODE = parse_address("192.168.0.5")


def service(name, ip, port, node_port=0, protocol="TCP"):
    spec = {
        "type": "NodePort" if node_port else "ClusterIP", "clusterIP": ip,
        "ports": [{"name": "p", "port": port, "protocol": protocol, **({"nodePort": node_port} if node_port else {})}],
    }
    return Service.model_validate({"metadata": {"namespace": "default", "name": name}, "spec": spec})


def endpoint_slice(name, addresses, port=8080):
    return EndpointSlice.model_validate(
        {
            "metadata": {"namespace": "default", "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [{"name": "p", "port": port, "protocol": "TCP"}],
        }
    )


def proxier(services, slices=()):
    opened, closed = [], []
    tracker = ChangeTracker(Catalogue(), "node")
    settings = ProxySettings(mode="userspace", node_name="node", node_ip=NODE, local_ips=(NODE,))
    balancer = RoundRobin(keyed_shuffle(1, "node"))
    made = UserspaceProxier(settings, tracker, balancer, opened.append, closed.append)
    for each in services:
        tracker.on_service(each)
    for each in slices:
        tracker.on_slice(each)
    made.prepare(0, full=True).commit()
    return made, opened, closed


def packet(destination, port, protocol=TCP, hook=Hook.PREROUTING):
    return Packet(protocol, parse_address("10.244.0.9"), 40000, parse_address(destination), port, hook)


def test_traffic_of_a_service_goes_to_the_port_that_the_proxy_opened():
    made, opened, _ = proxier([service("a", "10.96.0.1", 80), service("b", "10.96.0.2", 80)])
    decision = made.path.decide(packet("10.96.0.2", 80), 0.0, 0)
    assert decision.verdict is Verdict.DNAT
    assert (decision.destination, decision.destination_port) == (NODE, opened[1].proxy_port)
    assert decision.service_rules == 2
    assert made.path.decide(packet("10.96.0.3", 80), 0.0, 0).verdict is Verdict.NO_MATCH


def test_a_node_port_is_captured_on_the_nodes_own_address_only():
    made, opened, _ = proxier([service("a", "10.96.0.1", 80, node_port=30080)])
    assert made.path.decide(packet("192.168.0.5", 30080), 0.0, 0).destination_port == opened[0].proxy_port
    assert made.path.decide(packet("192.168.0.6", 30080), 0.0, 0).verdict is Verdict.NO_MATCH


def test_endpoints_take_turns_and_a_removed_service_closes_its_port():
    one = service("a", "10.96.0.1", 80)
    made, _, closed = proxier([one], [endpoint_slice("a", ["10.244.1.2", "10.244.2.2"])])
    picks = [made.balancer.next("default/a:p", 1, 0) for _ in range(4)]
    assert len(set(picks)) == 2
    assert picks[:2] == picks[2:]
    made.tracker.on_service_deleted("default/a")
    prepared = made.prepare(1, full=False)
    assert closed == []
    prepared.commit()
    assert len(closed) == 1
    assert made.path.decide(packet("10.96.0.1", 80), 0.0, 0).verdict is Verdict.NO_MATCH


clusters = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([80, 443]), st.booleans(), st.sampled_from(["TCP", "UDP"])),
    max_size=8, unique_by=lambda each: each[0],
)


packets = st.tuples(st.integers(0, 7), st.sampled_from([80, 443, 30001, 30003]), st.booleans(), st.booleans())


@given(clusters, st.lists(packets, max_size=10))
def test_the_table_answers_as_the_walk_does(cluster, packets):
    services = [
        service(f"s{i}", f"10.96.0.{i}", port, 30000 + i if node_port else 0, protocol)
        for i, port, node_port, protocol in cluster
    ]
    made, _, _ = proxier(services)
    for last, port, output, udp in packets:
        destination = "192.168.0.5" if last == 7 else f"10.96.0.{last}"
        one = packet(destination, port, UDP if udp else TCP, Hook.OUTPUT if output else Hook.PREROUTING)
        decided = made.path.decide(one, 0.5, 0)
        walked, steps = made.path.walk(one, 0.5, 0)
        assert (decided.verdict, decided.destination, decided.destination_port) == (
            walked.verdict, walked.destination, walked.destination_port,
        )
        assert (decided.rules, decided.service_rules) == (walked.rules, walked.service_rules)
        assert walked.rules == len(steps)


def test_a_service_port_is_shuffled_when_it_is_first_asked_for():
    shuffled = []

    def shuffle(service, change, endpoints):
        shuffled.append((service, change))
        return list(reversed(endpoints))

    balancer = RoundRobin(shuffle)
    for service in ("a", "b"):
        balancer.set_affinity(service, None)
        balancer.set_endpoints(service, [1, 2, 3])
    balancer.set_endpoints("a", [1, 2])
    assert shuffled == []
    assert [balancer.next("a", None, 0) for _ in range(3)] == [2, 1, 2]
    assert shuffled == [("a", 2)]
