"""What a capture shows of single packets, held against the model's instants and counts, and read by tshark."""


from svcsim.datapath.capture import Tap
from svcsim.datapath.fabric import FabricSettings
from svcsim.linux.address import format_address
from svcsim.linux.packet import Verdict
from svcsim.results.pcapng import PcapngWriter
from svcsim.units import MS, US
from tests.datapath.small_world import VIP, Route, SmallWorld, charges
from tests.sharks import alone, complaints, interfaces, needs_tshark, table

pytestmark = needs_tshark
CLIENT, SERVICE, POD_0, POD_1 = "10.244.0.9", format_address(VIP), "10.244.0.2", "10.244.1.2"
ANALYSIS = tuple(f"tcp.analysis.{kind}" for kind in ("retransmission", "out_of_order", "lost_segment", "window_full"))


class Captured:
    """A small world whose first two nodes are watched."""

    def __init__(self, folder, **settings):
        self.taps = []
        self.paths = [folder / "node-0.pcapng", folder / "node-1.pcapng"]

        def tap_of(fabric):
            tap = Tap(fabric, self.payload, lambda connection, host: "")
            self.taps.append(tap)
            return tap

        self.world = SmallWorld(tap_of=tap_of, **settings)
        self.files = [path.open("wb") for path in self.paths]
        for host, file in zip(self.world.hosts, self.files, strict=False):
            self.taps[0].watch(host, PcapngWriter(file, "svcsim"), lambda: [])

    @staticmethod
    def payload(request, is_answer):
        return b"x" * (request.answer_bytes if is_answer else request.request_bytes)

    def read(self, until_ns):
        """Let time pass, and close the files, in which tshark finds nothing wrong; returns their paths."""
        self.world.run(until_ns)
        self.taps[0].close()
        for file in self.files:
            file.close()
        for path in self.paths:
            assert complaints(path, reassembled=False) == []
        return self.paths


def packets(path):
    """Source, destination and flags of each packet, none of which tshark takes for sent again or missing."""
    rows = table(path, "ip.src", "ip.dst", *ANALYSIS, "tcp.flags.str")
    assert {flag for row in rows for flag in row[2:-1]} == {""}
    return rows


def flags(rows):
    return [row[-1].replace("·", "") for row in rows]


def test_a_handshake_request_and_close_are_on_each_interface_in_order_and_translated_in_between(tmp_path):
    captured = Captured(tmp_path)
    client = captured.world.client()
    connection = client.connect(uniform=0.9)
    captured.world.at(2 * MS, lambda: client.send(connection))
    captured.world.at(20 * MS, lambda: captured.world.network.handshakes.close(connection))
    near, far = captured.read(100 * MS)
    assert len(interfaces(near)) == 2
    assert len(interfaces(far)) == 2
    for path, pairs in ((near, ((CLIENT, SERVICE), (CLIENT, POD_1))), (far, ((CLIENT, POD_1), (CLIENT, POD_1)))):
        for interface, (source, destination) in zip(interfaces(path), pairs, strict=True):
            rows = packets(alone(path, interface))
            assert flags(rows) == ["S", "AS", "A", "AP", "A", "AP", "A", "AF", "AF", "A"]
            sent = [row[:2] for row in rows]
            there, back = [source, destination], [destination, source]
            assert sent == [there, back, there, there, back, back, there, there, back, there]


def test_instants_are_those_of_the_model(tmp_path):
    captured = Captured(tmp_path)
    client = captured.world.client()
    captured.world.at(5 * MS, lambda: client.connect(uniform=0.9))
    near, far = captured.read(100 * MS)
    syns = [round(float(row[0]) * 1e9) for path in (near, far) for row in table(path, "frame.time_epoch", where="tcp.flags == 2")]
    decided_ns, decided_again_ns = 8_000 + 6 + 63, 7_700 + 2 * 6
    assert syns[:3] == [5 * MS, 5 * MS + decided_ns, 5 * MS + decided_ns + 100 * US]
    assert syns[3] == syns[2] + decided_again_ns
    answer = [round(float(row[0]) * 1e9) for row in table(near, "frame.time_epoch", where="tcp.flags == 0x12")]
    assert client.events[0][1] == answer[1] + 2_000  # the SYN-ACK on the client's veth, and into its socket


def test_hops_are_counted_down_where_packets_are_routed(tmp_path):
    captured = Captured(tmp_path)
    captured.world.client().connect(uniform=0.9)
    near, far = captured.read(100 * MS)
    hops = [int(row[0]) for path in (near, far) for row in table(path, "ip.ttl", where="tcp.flags == 2")]
    assert hops == [64, 63, 62, 61]  # routed by the node, by a router between the nodes, and by the other node
    back = [int(row[0]) for path in (far, near) for row in table(path, "ip.ttl", where="tcp.flags == 0x12")]
    assert back == hops


def test_a_long_answer_comes_in_windows_of_units_and_adds_up(tmp_path):
    captured = Captured(tmp_path)
    client = captured.world.client()
    connection = client.connect(uniform=0.9)
    captured.world.at(2 * MS, lambda: client.send(connection, answer_bytes=200_000))
    near, far = captured.read(100 * MS)
    for path in (near, far):
        for interface in interfaces(path):
            rows = table(alone(path, interface), "tcp.len", *ANALYSIS, where="tcp.srcport in {80, 8080} && tcp.len > 0")
            assert {flag for row in rows for flag in row[1:]} == {""}
            sizes = [int(row[0]) for row in rows]
            assert sizes == [14480, 28960, 57920, 65160, 33480]
            assert sum(sizes) == 200_000


def test_without_offload_each_segment_is_a_packet(tmp_path):
    captured = Captured(tmp_path, charges=charges(unit_bytes=1500))
    client = captured.world.client()
    connection = client.connect(uniform=0.9)
    captured.world.at(2 * MS, lambda: client.send(connection, answer_bytes=10_000))
    near, _ = captured.read(100 * MS)
    sizes = [int(row[0]) for row in table(alone(near, "eth0"), "tcp.len", where="tcp.srcport == 8080 && tcp.len > 0")]
    assert sizes == [1448] * 6 + [10_000 - 6 * 1448]


def test_a_syn_to_a_dead_node_is_sent_again_with_the_same_number(tmp_path):
    captured = Captured(tmp_path)
    captured.world.hosts[1].up = False
    captured.world.client().connect(uniform=0.9)
    near, _ = captured.read(3_500 * MS)
    one = alone(near, "eth0")
    rows = table(one, "tcp.seq_raw", "frame.time_epoch", "tcp.analysis.retransmission")
    assert len(rows) == 4
    assert len({row[0] for row in rows}) == 1
    assert [round(float(row[1])) for row in rows] == [0, 1, 2, 3]
    assert [bool(row[2]) for row in rows] == [False, True, True, True]


def test_a_closed_port_answers_with_a_reset_and_a_reject_with_icmp(tmp_path):
    captured = Captured(tmp_path)
    captured.world.pods[1].listeners.clear()
    client = captured.world.client()
    client.connect(uniform=0.9)

    def reject():
        captured.world.rules.verdict = Verdict.REJECT
        client.connect()

    captured.world.at(50 * MS, reject)
    near, _ = captured.read(100 * MS)
    veth = alone(near, interfaces(near)[0])
    rows = table(veth, "ip.src", "tcp.flags.str", "tcp.ack", "icmp.type", "icmp.code")
    assert rows[1][0] == SERVICE
    assert rows[1][1].replace("·", "") == "AR"
    assert rows[1][2] == "1"
    assert rows[3][0] == f"192.168.0.1,{CLIENT}"
    assert rows[3][3:] == ["3", "3"]


def test_an_address_where_nobody_is_is_unreachable_and_the_error_translated_back(tmp_path):
    captured = Captured(tmp_path, settings=FabricSettings(cni="routed"))
    captured.world.remove_pod(1)
    captured.world.client().connect(uniform=0.9)
    near, far = captured.read(100 * MS)
    about = [table(path, "ip.src", "ip.dst", "icmp.code", where="icmp") for path in (far, near)]
    assert about[0] == [[f"192.168.0.2,{CLIENT}", f"{CLIENT},{POD_1}", "1"]]
    assert about[1][0] == about[0][0]
    assert about[1][1] == [f"{SERVICE},{CLIENT}", f"{CLIENT},{SERVICE}", "1"]


def test_a_masqueraded_connection_from_outside_is_twice_on_the_entry_nodes_uplink(tmp_path):
    captured = Captured(tmp_path)
    outside = captured.world.outside_host()
    client = captured.world.client()
    client.connect(uniform=0.9, namespace=outside.namespace)
    near, far = captured.read(100 * MS)
    rows = table(near, "frame.interface_name", "ip.src", "ip.dst", where="tcp.flags == 2")
    assert rows == [["eth0", "203.0.113.7", SERVICE], ["eth0", "192.168.0.1", POD_1]]
    assert {tuple(row) for row in table(far, "ip.src", "ip.dst", where="tcp.flags == 2")} == {("192.168.0.1", POD_1)}


def test_datagrams_are_translated_and_an_unbound_port_says_so(tmp_path):
    captured = Captured(tmp_path)
    world = captured.world
    client = world.client()
    socket = client.socket(uniform=0.9)
    client.datagram(socket)
    world.at(20 * MS, lambda: client.datagram(socket))

    def unbind():
        world.pods[0].listeners.clear()
        client.datagram(client.socket(uniform=0.0))

    world.at(50 * MS, unbind)
    near, _far = captured.read(100 * MS)
    veth = interfaces(near)[0]
    rows = table(near, "ip.src", "ip.dst", "udp.length", where=f'udp && !icmp && frame.interface_name == "{veth}"')
    assert rows[:4] == [[CLIENT, SERVICE, "108"], [SERVICE, CLIENT, "108"]] * 2
    assert len(rows) == 5
    errors = table(near, "ip.src", "ip.dst", "icmp.code", where="icmp")
    assert errors == [[f"{POD_0},{CLIENT}", f"{CLIENT},{POD_0}", "3"], [f"{SERVICE},{CLIENT}", f"{CLIENT},{SERVICE}", "3"]]


def test_what_a_link_loses_is_missing_behind_it_and_comes_again(tmp_path):
    captured = Captured(tmp_path)
    world = captured.world
    world.topology.default = Route(loss=0.05)
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.at(1_500 * MS, lambda: client.send(connection, answer_bytes=60_000) if connection.open else None)
    near, far = captured.read(4_000 * MS)
    assert "answered" in client.names()
    received = table(alone(near, "eth0"), "tcp.seq", "tcp.len", where="tcp.srcport == 8080 && tcp.len > 0")
    sent = table(alone(far, "eth0"), "tcp.seq", "tcp.len", where="tcp.srcport == 8080 && tcp.len > 0")
    there = {byte for row in received for byte in range(int(row[0]), int(row[0]) + int(row[1]))}
    assert there == set(range(1, 60_001))
    assert sum(int(row[1]) for row in sent) >= sum(int(row[1]) for row in received) == 60_000


def test_the_counts_of_packets_are_the_models(tmp_path):
    captured = Captured(tmp_path)
    world = captured.world
    client = world.client()
    for i in range(20):
        connection = client.connect(uniform=i / 20)
        world.at(world.clock.now + 5 * MS, lambda connection=connection: client.send(connection))
        world.run(world.clock.now + 20 * MS)
        world.network.handshakes.close(connection)
    near, _ = captured.read(world.clock.now + 100 * MS)
    veth = interfaces(near)[0]
    counted = "tcp.flags.syn == 1 || tcp.flags.fin == 1 || tcp.len > 0"
    shown = len(table(near, "frame.number", where=f'frame.interface_name == "{veth}" && ({counted})'))
    acks = 2 * 20  # that end the handshake and the connection; those of data the model does not count
    assert shown + acks == world.fabric.counts.sent


def test_ipv6_is_written_as_well(tmp_path):
    from svcsim.linux import frames
    from svcsim.linux.address import parse_address

    source, destination = parse_address("2001:db8::1"), parse_address("2001:db8::2")
    with (tmp_path / "six.pcapng").open("wb") as file:
        writer = PcapngWriter(file, "svcsim")
        interface = writer.interface("eth0")
        writer.names([(frames.packed(source), "one")])
        header = frames.TcpHeader(frames.SYN, 1, 0, 100)
        contents = [
            (6, frames.tcp_segment(source, 1000, destination, 80, header, b"")),
            (17, frames.udp_datagram(source, 1000, destination, 9999, b"abc")),
        ]
        for protocol, content in contents:
            packet = frames.ip_packet(source, destination, protocol, 64, 0, content)
            writer.packet(interface, 1, frames.ethernet_frame(bytes(6), bytes(6), packet))
            error = frames.icmp_error(destination, source, frames.PORT_UNREACHABLE, packet)
            about = frames.ip_packet(destination, source, frames.ICMPV6, 64, 0, error)
            writer.packet(interface, 2, frames.ethernet_frame(bytes(6), bytes(6), about))
    path = tmp_path / "six.pcapng"
    assert complaints(path) == []
    assert table(path, "ipv6.src", where="icmpv6.type == 1 && icmpv6.code == 4 && icmpv6.checksum.status == 1") == [
        ["2001:db8::2,2001:db8::1"]
    ] * 2


def test_packets_behind_a_gap_are_acknowledged_three_times_and_the_last_one_before_it_once(tmp_path, monkeypatch):
    captured = Captured(tmp_path)
    world = captured.world
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(2 * MS)
    count, gone = iter(range(1 << 60)), {12, 40, 41}
    monkeypatch.setattr(type(world.fabric), "is_lost", lambda fabric, each, route: next(count) in gone)
    world.topology.routes["node-1", "node-0"] = Route(loss=0.5)
    world.fabric.changed()
    client.send(connection, answer_bytes=60 * 1448)
    near, far = captured.read(100 * MS)
    assert client.names() == ["connected", "answered"]
    one = alone(near, interfaces(near)[0])
    acknowledged = [int(row[0]) for row in table(one, "tcp.ack", where="tcp.dstport == 80 && tcp.len == 0 && tcp.ack > 1")]
    assert max(acknowledged) == 60 * 1448 + 1
    assert acknowledged.count(12 * 1448 + 1) == 4  # two packets before the gap are one of the capture, then three duplicates
    sent = table(alone(far, "eth0"), "tcp.analysis.fast_retransmission", where="tcp.srcport == 8080 && tcp.len > 0")
    assert sum(row != [""] for row in sent) >= 1
    received = table(alone(near, "eth0"), "tcp.seq", "tcp.len", where="tcp.srcport == 8080 && tcp.len > 0")
    assert sum(int(row[1]) for row in received) == 60 * 1448
