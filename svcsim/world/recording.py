"""Captures of a run: which hosts' packets go to which files, what the packets say, and what addresses are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from svcsim.datapath.capture import Tap
from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.errors import UsageError
from svcsim.kube.api.service import Service
from svcsim.kube.dns.encoding import encode_answer, encode_padded, encode_query
from svcsim.kube.store import Store
from svcsim.kubeproxy.iptables_chains import endpoint_chain
from svcsim.kubeproxy.nftables_names import endpoint_base
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.linux.address import format_address, format_endpoint, parse_address
from svcsim.linux.packet import PROTOCOL_NAME, TCP
from svcsim.results.pcapng import PcapngWriter
from svcsim.results.records import Outcome
from svcsim.scenario.model import Scenario
from svcsim.version import __version__
from svcsim.workload.resolving import DNS_PORT, DnsMessage
from svcsim.workload.workload import Workload

STATUS_LINES = {
    Outcome.OK: b"200 OK", Outcome.SERVER_BUSY: b"503 Service Unavailable", Outcome.NOT_FOUND: b"404 Not Found",
    Outcome.BAD_GATEWAY: b"502 Bad Gateway", Outcome.SERVICE_UNAVAILABLE: b"503 Service Temporarily Unavailable",
    Outcome.GATEWAY_TIMEOUT: b"504 Gateway Time-out",
}
"""What an answer says first."""
_HTTP_SCHEMES = ("http", "nodePort", "loadBalancer")
_UNFINISHED = ".unfinished"
_FILLER = b"svcsim "
"""Not zeros: many a protocol over TCP takes them for a message of its own."""


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """Files to write, each by the name of its host, and the window of the run that they hold (None: to its end)."""

    files: tuple[tuple[str, Path], ...]
    from_ns: int = 0
    until_ns: int | None = None


class Cluster(Protocol):
    """What a recording looks up in the world."""

    @property
    def store(self) -> Store:
        """The API server's objects."""

    def proxy_mode(self, host: str) -> str:
        """The mode of a node's kube-proxy; empty for a host without one."""


class Recording:
    """The captures of one run. `start` opens the files, `finish` completes them, `abandon` leaves none."""

    def __init__(self, plan: CapturePlan, scenario: Scenario, fabric: Fabric, cluster: Cluster) -> None:
        self._plan = plan
        self._scenario = scenario
        self._fabric = fabric
        self._cluster = cluster
        self._files = ExitStack()
        self._service_ports: dict[tuple[int, int, int], ServicePortName] = {}
        self._chains: dict[tuple[str, int, int, int, int, int], str] = {}
        self.tap = Tap(fabric, self.payload, self.explain, plan.from_ns, plan.until_ns)

    def start(self) -> None:
        """Open the files; UsageError for one that can't be written."""
        hosts = {host.name: host for host in self._fabric.hosts}
        for name, path in self._plan.files:
            try:
                file: BinaryIO = self._files.enter_context(_unfinished(path).open("wb"))
            except OSError as error:
                self.abandon()
                raise UsageError(f"can't write {path}: {error.strerror or error}") from None
            comment = f"scenario {self._scenario.name}, {self._scenario.kubernetes.label}, host {name}; times are since its start"
            writer = PcapngWriter(file, f"svcsim {__version__}", comment)
            self.tap.watch(hosts[name], writer, self.names)

    def finish(self) -> None:
        """Write what waits and give the files their names."""
        self.tap.close()
        self._files.close()
        for _, path in self._plan.files:
            _unfinished(path).replace(path)

    def abandon(self) -> None:
        """The run did not end well: leave no file."""
        self._files.close()
        for _, path in self._plan.files:
            _unfinished(path).unlink(missing_ok=True)

    # ---- names -------------------------------------------------------------------------------------------------------

    def names(self) -> Iterator[tuple[int, str]]:
        """Hosts, pods (`name.namespace`) and Services (`name.namespace.svc`) that exist now."""
        for host in self._fabric.hosts:
            for address in host.namespace.addresses:
                yield address, host.name
        for address, namespace in self._fabric.namespaces.items():
            if not namespace.is_host:
                yield address, ".".join(reversed(namespace.name.split("/")))
        for service in self._cluster.store.each(Service):
            if not service.spec.is_headless:
                name = f"{service.metadata.name}.{service.metadata.namespace}.svc"
                for text in (*service.spec.cluster_ips, *service.spec.external_ips):
                    yield parse_address(text), name

    def explain(self, connection: Connection, host: Host) -> str:
        """The chain, or the part of the kernel, that sent a first packet to its backend."""
        mode = self._cluster.proxy_mode(host.name)
        protocol, port = connection.protocol, connection.destination_port
        key = (mode, protocol, connection.destination, port, connection.backend_address, connection.backend_port)
        found = self._chains.get(key)
        if found is None:
            found = self._chains[key] = self._chain(mode, connection)
        return found

    def _chain(self, mode: str, connection: Connection) -> str:
        if mode == "ipvs":
            return "IPVS"
        if mode == "userspace":
            return "KUBE-PORTALS, to kube-proxy's own port"
        protocol, port = connection.protocol, connection.destination_port
        if not self._service_ports or (connection.destination, port, protocol) not in self._service_ports:
            self._read_services()
        name = self._service_ports.get((connection.destination, port, protocol)) or self._service_ports.get((0, port, protocol))
        if name is None:
            return ""
        backend, backend_port = connection.backend_address, connection.backend_port
        if mode == "nftables":
            return f"endpoint-{endpoint_base(name, backend, backend_port)}"
        return endpoint_chain(name, format_endpoint(backend, backend_port)) if mode == "iptables" else ""

    def _read_services(self) -> None:
        """Which Service port an address and port belong to; a node port has address 0."""
        for service in self._cluster.store.each(Service):
            if service.spec.is_headless:
                continue
            addresses = [parse_address(text) for text in (*service.spec.cluster_ips, *service.spec.external_ips)]
            addresses += [parse_address(each.ip) for each in service.status.load_balancer.ingress if each.ip]
            for port in service.spec.ports:
                name = ServicePortName(service.metadata.namespace, service.metadata.name, port.name, port.protocol)
                number = {text: value for value, text in PROTOCOL_NAME.items()}[port.protocol]
                for address in addresses:
                    self._service_ports[(address, port.port, number)] = name
                if port.node_port:
                    self._service_ports[(0, port.node_port, number)] = name

    # ---- what packets say --------------------------------------------------------------------------------------------

    def payload(self, request: Request, is_answer: bool) -> bytes:
        """The bytes of a message: DNS and HTTP as they are on the wire, else filler, as long as the model has it."""
        size = request.answer_bytes if is_answer else request.request_bytes
        message = request.payload
        over_tcp = request.connection.protocol == TCP
        if isinstance(message, DnsMessage):
            return _dns(message, size, is_answer=is_answer, over_tcp=over_tcp)
        if not over_tcp:
            if request.connection.destination_port == DNS_PORT:
                return encode_padded("svcsim.", size, is_answer=is_answer)
            return bytes(size)
        first = request.outer or request
        if first.is_probe:
            host = format_endpoint(request.connection.destination, request.connection.destination_port)
            return _http(size, "/healthz", host, "kube-probe", request, is_answer=is_answer)
        if isinstance(first.client, Workload):
            to = self._scenario.workloads[first.client.settings.index].to
            if to is not None and to.scheme in _HTTP_SCHEMES:
                host = format_address(request.connection.destination) if to.is_variable else to.host
                return _http(size, to.path or "/", host, "svcsim", request, is_answer=is_answer)
        return _filler(size)


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + _UNFINISHED)


def _dns(message: DnsMessage, size: int, *, is_answer: bool, over_tcp: bool) -> bytes:
    """A DNS message; over TCP two bytes with its length go ahead."""
    if not is_answer:
        wire = encode_query(message.query)
    elif message.answer is not None:
        wire = encode_answer(message.query, message.answer)
    else:
        return _filler(size)
    return len(wire).to_bytes(2, "big") + wire if over_tcp else wire


def _http(size: int, path: str, host: str, agent: str, request: Request, *, is_answer: bool) -> bytes:
    """An HTTP/1.1 message of exactly this size; one too small for its head is filler."""
    if not is_answer:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n".encode()
        padding = size - len(head) - len(b"X-Filler: \r\n\r\n")
        if padding < 0:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n".encode()
            padding = size - len(head) - len(b"X-Filler: \r\n\r\n")
        if padding < 0:
            return _filler(size)
        return head + b"X-Filler: " + b"." * padding + b"\r\n\r\n"
    status = STATUS_LINES[request.status]
    body = size
    for _ in range(3):  # the length of the length changes the length
        head = b"HTTP/1.1 " + status + b"\r\nServer: svcsim\r\nContent-Length: " + str(max(0, body)).encode() + b"\r\n\r\n"
        body = size - len(head)
    head = b"HTTP/1.1 " + status + b"\r\nServer: svcsim\r\nContent-Length: " + str(max(0, body)).encode() + b"\r\n\r\n"
    if body < 0 or len(head) + body != size:
        return _filler(size)
    return head + _filler(body)


def _filler(size: int) -> bytes:
    return (_FILLER * (size // len(_FILLER) + 1))[:size]
