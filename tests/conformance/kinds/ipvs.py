"""Kind `ipvs`: sequences recorded from the IPVS of a real Linux, replayed event by event."""

from __future__ import annotations

import copy
from collections import defaultdict

from svcsim.linux.address import format_endpoint, parse_endpoint
from svcsim.linux.ipvs import Dropped, IpvsConnection, IpvsSysctls, IpvsTable, IpvsTimeouts, PacketFate
from svcsim.linux.ipvs.keys import split_key
from svcsim.linux.ipvs.text import format_table
from svcsim.linux.packet import PROTOCOL_NAME, TCP, UDP
from svcsim.units import MS, S

KIND = "ipvs"

TICK_NS = 20 * MS
"""The traces were recorded with HZ=100, in User Mode Linux; what happens "at the next tick" happens within two of them.

When an event differs, the replay tries it again with the tick before it: the traces do not say when it came.
"""


class Replay:
    """One trace: its table, its service, its connections by number, and the time of the event under way."""

    def __init__(self, vector: dict) -> None:
        sysctls = vector["sysctl_net_ipv4_vs"]
        self.table = IpvsTable(
            IpvsSysctls(
                conntrack=sysctls["conntrack"] == "1",
                conn_reuse_mode=int(sysctls["conn_reuse_mode"]),
                expire_nodest_conn=sysctls["expire_nodest_conn"] == "1",
                expire_quiescent_template=sysctls["expire_quiescent_template"] == "1",
                tick_ns=TICK_NS,
            ),
            IpvsTimeouts(*(seconds * S for seconds in vector["ipvs_timeouts_tcp_tcpfin_udp_s"])),
        )
        self.protocol = UDP if vector["protocol"] == "udp" else TCP
        self.marked = vector["fwmark"] is not None
        address, port = (0, 0) if self.marked else parse_endpoint(f"{vector['vip']}:{vector['port']}")
        self.persistence_ns = (vector["persistence_timeout_s"] or 0) * S
        self.flags = tuple(vector["sched_flags"])
        self.service = self.table.add_service(
            self.protocol, address, port, vector["scheduler"], fwmark=vector["fwmark"] or 0, flags=self.flags,
            persistence_ns=self.persistence_ns,
        )
        self.connections: dict[int, IpvsConnection] = {}
        self.sources: dict[int, tuple[str, str]] = {}
        self.live: set[int] = set()
        self.gone_early: set[int] = set()
        self.now_ns = 0

    def server(self, name: str):
        server = self.service.server(*parse_endpoint(name))
        assert server is not None, f"no server {name}"
        return server

    def connect(self, source: str, destination: str) -> IpvsConnection | Dropped | None:
        client, client_port = parse_endpoint(source)
        address, port = parse_endpoint(destination)
        if self.marked:
            return self.table.connect(
                self.service, client, client_port, self.now_ns, protocol=self.protocol, destination=address, destination_port=port
            )
        service = self.table.lookup(self.protocol, address, port)
        assert service is self.service
        return self.table.connect(service, client, client_port, self.now_ns)

    # ---- operations: each returns what it has to compare ---------------------------------------------------------------

    def add_server(self, event: dict) -> None:
        self.table.add_server(self.service, *parse_endpoint(event["server"]), event["weight"], self.now_ns)

    def del_server(self, event: dict) -> None:
        self.table.delete_server(self.server(event["server"]), self.now_ns)

    def set_weight(self, event: dict) -> None:
        self.table.edit_server(self.server(event["server"]), event["weight"])

    def edit_service(self, event: dict) -> None:
        self.table.edit_service(self.service, event["scheduler"], flags=self.flags, persistence_ns=self.persistence_ns)

    def open(self, event: dict) -> None:
        connection = self.connect(event["src"], event["dst"])
        if connection is None:
            got, error = None, "ECONNREFUSED"
        elif connection is Dropped.SILENTLY:
            got, error = None, "TIMEOUT"
        else:
            server = connection.server
            got, error = format_endpoint(server.address, server.port), None
            number = event["conn"]
            self.connections[number] = connection
            self.sources[number] = (event["src"], event["dst"])
            self.live.add(number)
            self.table.on_packet(connection, self.now_ns, from_client=self.protocol == TCP)
        expect("chosen", event["chosen"], got)
        expect("error", event.get("error"), error)

    def close(self, event: dict) -> None:
        connection = self.connections[event["conn"]]
        who, what = event["how"].split("_")
        by_client = who == "client"
        if what == "rst":
            self.table.on_rst(connection, by_client, self.now_ns)
        else:
            self.table.on_fin(connection, by_client, self.now_ns)
            if what == "fin":
                self.table.on_fin(connection, not by_client, self.now_ns)
        if "state" in event:
            expect("state", event["state"], connection.state.name)
            self.expect_seconds("expires_s", event["expires_s"], connection.expires_ns)

    def send(self, event: dict) -> None:
        number = event["conn"]
        if self.protocol == UDP:
            answer = self.connect(*self.sources[number])
            delivered = isinstance(answer, IpvsConnection)
            expect("answered", event["client_side"] == "reply", delivered)
            if delivered:
                self.table.on_packet(answer, self.now_ns, from_client=False)
                self.connections[number] = answer
                self.live.add(number)
                expect("server_side", event["server_side"], format_endpoint(answer.server.address, answer.server.port))
        else:
            fate = self.table.on_packet(self.connections[number], self.now_ns)
            sides = {
                PacketFate.FORWARDED: ("server_got", "echo"),
                PacketFate.DROPPED: ("server_got_nothing", "timeout"),
                PacketFate.GONE: ("server_got_nothing", "ECONNRESET"),
            }
            expect("(server_side, client_side)", (event["server_side"], event["client_side"]), sides[fate])
        key = self.connections[number].key
        got = {
            (format_endpoint(entry.server.address, entry.server.port), entry.state.name): entry.expires_ns
            for entry in self.table.entries()
            if entry.key == key
        }
        if event["ipvs_entry"] is None:
            expect("ipvs_entry", {}, got)
        else:
            server, state, seconds = event["ipvs_entry"]
            assert (server, state) in got, f"ipvs_entry: expected {server} {state}, got {got}"
            self.expect_seconds("ipvs_entry", seconds, got[server, state])

    def sleep(self, event: dict) -> None:
        """`expired` is the difference of two looks: what went before the first one is not in it."""
        gone = {number for number in self.live if not self.connections[number].expires_ns}
        expected = set(event["expired"])
        expect("expired", sorted(expected), sorted(gone & (expected | gone - self.gone_early)))
        self.live -= gone

    def conn_table(self, event: dict) -> None:
        """The recorder keeps one of several rows of the same client and virtual address."""
        got = defaultdict(dict)
        for entry in self.table.entries():
            flow = split_key(entry.key)
            key = (
                PROTOCOL_NAME[flow.protocol], format_endpoint(flow.client, flow.client_port),
                format_endpoint(flow.address, flow.port),
            )
            server = format_endpoint(entry.server.address, entry.server.port)
            got[key][server, entry.state.name] = entry.expires_ns
        for template in self.table.templates():
            client = template.key & (1 << 129) - 1
            port, server_port = (65535, 65535) if template.displaced else (self.service.port, template.server.port)
            key = (
                PROTOCOL_NAME[self.protocol], format_endpoint(client, 0), format_endpoint(self.service.address, port)
            )
            server = format_endpoint(template.server.address, server_port)
            got[key][server, "ASSURED" if template.assured else "NONE"] = template.expires_ns
        rows = {tuple(row[:3]): row[3:] for row in event["entries"]}
        expect("keys of the entries", sorted(rows), sorted(got))
        for key, (server, state, seconds) in rows.items():
            assert (server, state) in got[key], f"{key}: expected {server} {state}, got {sorted(got[key])}"
            self.expect_seconds(f"expiry of {key}", seconds, got[key][server, state])

    def stats(self, event: dict) -> None:
        """The trace may have been recorded beside another service: only this one is compared."""
        name = format_table(self.table).split("\n")[3].split()[1]
        expect("ipvsadm -Ln", _of_service(event["ipvsadm_Ln"], name), _of_service(format_table(self.table), name))

    def expect_seconds(self, what: str, seconds: int, expires_ns: int) -> None:
        left_ns = expires_ns - self.now_ns
        assert (seconds - 1) * S <= left_ns <= (seconds + 1) * S, f"{what}: expected {seconds} s, got {left_ns / S:.3f} s"

    def step(self, event: dict) -> None:
        """Apply the event and compare all that it recorded; the tick may come between the event and the look at the table."""
        getattr(self, event["op"])(event)
        got = self.rows()
        if got != event["table"] and self.table.next_change_ns() <= self.now_ns + TICK_NS:
            self.table.advance(self.now_ns + TICK_NS)
            got = self.rows()
        expect("table", event["table"], got)

    def rows(self) -> list[list]:
        self.table.advance(self.now_ns)
        return [
            [format_endpoint(server.address, server.port), server.weight, server.active, server.inactive]
            for server in self.service.servers
        ]


def _of_service(text: str, name: str) -> list[str]:
    """The head lines, and the lines of the service of that name."""
    lines = text.splitlines()
    kept, own = lines[:3], False
    for line in lines[3:]:
        if not line.startswith("  ->"):
            own = name in line.split()
        if own:
            kept.append(line)
    return kept


def expect(what: str, expected: object, got: object) -> None:
    assert got == expected, f"{what}: expected {expected!r}, got {got!r}"


def run(vector: dict) -> None:
    replay = Replay(vector)
    for event in vector["events"]:
        replay.now_ns = round(event["t"] * S)
        where = f"event {event['i']} ({event['op']})"
        if event["op"] == "sleep":
            replay.table.advance(replay.now_ns - round(event["seconds"] * S) + TICK_NS)
            replay.gone_early = {number for number in replay.live if not replay.connections[number].expires_ns}
        replay.table.advance(replay.now_ns)
        soon = replay.table.next_change_ns() <= replay.now_ns + TICK_NS
        before = copy.deepcopy(replay) if soon else None
        try:
            replay.step(event)
        except AssertionError as error:
            if before is None:
                raise AssertionError(f"{where}: {error}") from None
            replay = before
            replay.table.advance(replay.now_ns + TICK_NS)
            try:
                replay.step(event)
            except AssertionError as again:
                raise AssertionError(f"{where}: {error}; or, if the tick has come: {again}") from None
