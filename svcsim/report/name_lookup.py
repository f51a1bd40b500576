"""A name looked up in a world as it stands: real queries of a pod's resolver, each with the server pod that was asked.

The look-up is traffic of the world, so time passes in it and whatever is wrong there (a dead DNS pod, a full conntrack table, a
node that is cut off) shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from svcsim.datapath.connection import Connection
from svcsim.datapath.host import Namespace
from svcsim.errors import UsageError
from svcsim.kube.dns.answers import reverse_name
from svcsim.kube.dns.lookup import Status
from svcsim.kube.dns.presentation import record_data, section_lines
from svcsim.kube.dns.records import RECORD_TYPES, Answer, RecordType, answer_bytes
from svcsim.kube.dns.resolv_conf import ResolvConf, merge_options
from svcsim.kube.dns.resolver import Resolver
from svcsim.kube.dns.zone import PublishedService
from svcsim.linux.address import format_address, parse_address
from svcsim.report.terminal import Ink
from svcsim.report.tracing import source_of
from svcsim.spelling import nearest
from svcsim.units import MS, S, duration_text
from svcsim.workload.resolving import Exchange
from svcsim.world.containers import DNS_LABEL
from svcsim.world.naming import dns_address
from svcsim.world.world import World

LIMIT_NS = 120 * S
"""Longer than any resolver goes on."""
_WATCH_KEY = 0x646967
_PLAIN = Ink()
_MOST_OF_A_LABEL = 63
_MOST_OF_A_NAME = 253
_PORTS = 8
_PORT = re.compile(r"_(?P<port>[^.]+)\._(?P<protocol>[^.]+)\.(?P<service>.+)")
"""A name of SRV records below a Service (RFC 2782)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it was sent: when (from the look-up's begin), to which server, which pod got it, and what came back."""

    at_ns: int
    name: str
    type: RecordType
    transport: str
    server: str
    pod: str
    took_ns: int | None
    answer: Answer | None
    failure: str

    @property
    def outcome(self) -> str:
        """The answer's code, `NODATA` for an empty one, or why there is none."""
        if self.answer is None:
            return self.failure or "no answer"
        code = "NODATA" if self.answer.is_nodata else self.answer.rcode
        return f"{code}, truncated" if self.answer.truncated else code


@dataclass(frozen=True, slots=True)
class NameLookup:
    """A look-up and its end; `answer` is what the name that ended it got, None if nobody answered."""

    name: str
    types: tuple[RecordType, ...]
    source: str
    at_ns: int
    libc: str
    conf: ResolvConf
    asked: tuple[Asked, ...]
    question: str
    answer: Answer | None
    status: Status
    took_ns: int
    hint: str = ""


def look_up(world: World, name: str, rtype: str | None = None, source: str | None = None) -> NameLookup:
    """Look a name up from a pod (or with a question straight to cluster DNS, from a node), now.

    Without a type both addresses are asked for, as getaddrinfo does; an address is turned into the name of its PTR record.
    UsageError for a type or a source that there is not, and for what is no name: no resolver sends a query for it.
    """
    asked_type = _type_of(rtype)
    name, asked_type = _reversed(name, asked_type)
    _check_name(name)
    namespace = _source(world, source)
    client = world.clients.resolver_in(namespace)
    resolver = world.naming.resolver_of(namespace, client)
    if resolver is None:
        conf = ResolvConf((dns_address(world.scenario),))
        resolver = Resolver(conf)
    else:
        conf = world.naming.resolv_conf(namespace.name)
        conf = replace(conf, options=merge_options(conf.options, client.options))
    began_ns = world.clock.now
    exchanges: list[Exchange] = []
    lookups = world.resolvers.resolve(
        resolver, namespace, name, _WATCH_KEY, lambda addresses, queries: None, rtype=asked_type, watched=exchanges
    )
    while lookups.result is None and world.clock.now < began_ns + LIMIT_NS:
        world.clock.run(world.clock.now + (MS if world.clock.now < began_ns + 50 * MS else 100 * MS))
    result = lookups.result
    asked = tuple(_asked(world, each, began_ns, conf) for each in exchanges)
    last = result.candidates[-1].name if result is not None and result.candidates else name
    if result is not None and result.name is not None:
        last = result.name
    of_last = (each.answer for each in asked if each.name == last and each.answer is not None)
    answer = _joined([each for each in of_last if not each.truncated])
    ended = [each.at_ns + each.took_ns for each in asked if each.took_ns is not None]
    took_ns = max(ended) if answer is not None and ended else world.clock.now - began_ns
    found = NameLookup(
        name, tuple(dict.fromkeys(each.type for each in asked)), _named(namespace), began_ns, resolver.libc, conf, asked, last,
        answer, result.status if result is not None else "try again", took_ns,
    )
    return found if answer is None or answer.answer else _with_hint(world, found, namespace)


def _type_of(text: str | None) -> RecordType | None:
    if text is None:
        return None
    for rtype in RECORD_TYPES:
        if rtype == text.upper():
            return rtype
    raise UsageError(f"there is no record type {text!r} here{nearest(text.upper(), RECORD_TYPES, listed=10)}")


def _check_name(name: str) -> None:
    """UsageError unless the name can stand in a query (RFC 1035 2.3.4)."""
    labels = name.removesuffix(".").split(".")
    for label in labels if name != "." else ():
        if not 1 <= len(label.encode()) <= _MOST_OF_A_LABEL:
            what = f"a part of {len(label)} characters" if label else "an empty part"
            raise UsageError(f"not a name for DNS: {name[:80]!r} has {what} (1 to {_MOST_OF_A_LABEL}, parted by dots)")
    if len(name.removesuffix(".").encode()) > _MOST_OF_A_NAME:
        raise UsageError(f"not a name for DNS: it has {len(name)} characters, of at most {_MOST_OF_A_NAME}")


def _reversed(name: str, rtype: RecordType | None) -> tuple[str, RecordType | None]:
    try:
        ip_address(name)
    except ValueError:
        return name, rtype
    if rtype not in (None, "PTR"):
        raise UsageError(f"{name} is an address: its records are of type PTR, not {rtype}")
    return reverse_name(parse_address(name)), "PTR"


def _source(world: World, text: str | None) -> Namespace:
    if text is not None:
        namespace = source_of(world, text if "/" in text else f"pod/{text}")
        if namespace.is_host and not namespace.host.is_node:
            raise UsageError(f"--from: {namespace.name} is outside the cluster and its DNS; name a pod or a node")
        return namespace
    for workload in world.clients.workloads:
        for each in workload.sources:
            if not each.namespace.is_host:
                return each.namespace
    label, value = DNS_LABEL
    for running in world.containers.running.values():
        if not running.namespace.is_host and running.pod.metadata.labels.get(label) != value:
            return running.namespace
    return next(host.namespace for host in world.network.fabric.hosts if host.is_node)


def _named(namespace: Namespace) -> str:
    return f"node/{namespace.name}" if namespace.is_host else f"pod/{namespace.name.removeprefix('default/')}"


def _asked(world: World, exchange: Exchange, began_ns: int, conf: ResolvConf) -> Asked:
    query, connection = exchange.query, exchange.connection
    took_ns = None if exchange.ended_ns is None else exchange.ended_ns - exchange.sent_ns
    if connection is None:
        pod, server = "node-local-dns" + (", from its cache" if exchange.cached else ""), conf.nameservers[query.server]
    else:
        pod, server = _pod_of(world, connection), format_address(connection.destination)
    return Asked(
        exchange.sent_ns - began_ns, query.name, query.type, query.transport, server, pod,
        took_ns, exchange.answer, exchange.failure,
    )


def _pod_of(world: World, connection: Connection) -> str:
    """The pod that a question went to, with its node; empty where it got to none, `nobody` where none has the address now."""
    if connection.endpoint >= 0:
        key = world.containers.endpoint_names[connection.endpoint]
        running = world.containers.running.get(key)
        return key.partition("/")[2] + (f" ({running.namespace.host.name})" if running is not None else "")
    address = connection.backend_address
    if address in (0, connection.destination):
        return ""
    served = world.network.fabric.namespaces.get(address)
    return f"nobody ({format_address(address)})" if served is None else f"{served.name.partition('/')[2]} ({served.host.name})"


def _joined(answers: list[Answer]) -> Answer | None:
    """The answers to the questions for one name, as one."""
    if not answers:
        return None
    first = answers[0]
    records = tuple(dict.fromkeys(record for each in answers for record in each.answer))
    rcode = next((each.rcode for each in answers if each.answer), first.rcode)
    authority = () if records else tuple(dict.fromkeys(record for each in answers for record in each.authority))
    additional = tuple(dict.fromkeys(record for each in answers for record in each.additional))
    return Answer(rcode, records, authority, additional, forwarded=any(each.forwarded for each in answers))


def _with_hint(world: World, found: NameLookup, namespace: Namespace) -> NameLookup:
    """The look-up with the nearest name that a client might have meant."""
    domain = world.scenario.kubernetes.dns.domain
    home = namespace.name.partition("/")[0] if not namespace.is_host else ""
    keys = list(world.naming.zone.services)
    written = found.name.rstrip(".").removesuffix(f".{domain}").removesuffix(".svc")
    port = _PORT.fullmatch(written)
    if port is not None:
        written = port["service"]
        name, _, place = written.partition(".")
        service = world.naming.zone.services.get((place or home, name))
        if service is not None:
            hint = _port_hint(written, port["port"].lower(), port["protocol"].lower(), service)
            return replace(found, hint=hint) if hint else found
    known = [name for place, name in keys if place == home] if "." not in written else [f"{name}.{place}" for place, name in keys]
    if "." not in written:
        elsewhere = [f"{name}.{place}" for place, name in keys if name == written and place != home]
        if elsewhere:
            return replace(found, hint=f"Service {written} is of another namespace: ask for {elsewhere[0]}")
    if written in known or written.endswith(".arpa"):
        return found
    meant = nearest(written, known)
    return replace(found, hint=f"there is no Service {written}{meant}") if meant else found


def _port_hint(written: str, port: str, protocol: str, service: PublishedService) -> str:
    """Which ports a Service has names for, where it has none for this one."""
    named = [f"_{each.name}._{each.protocol}" for each in service.ports if each.name]
    if f"_{port}._{protocol}" in named:
        return ""
    if not named:
        return f"no port of Service {written} has a name, so there is no SRV record of one"
    more = f" and {len(named) - _PORTS} more" if len(named) > _PORTS else ""
    return f"Service {written} has no port {port} of {protocol.upper()}; its named ports: {', '.join(named[:_PORTS])}{more}"


# ---- what is printed --------------------------------------------------------------------------------------------------


def render(found: NameLookup, ink: Ink = _PLAIN) -> str:
    """The look-up's steps, then its answer as `dig` prints one."""
    return "\n".join(_lines(found, ink))


def _ms(ns: int) -> str:
    return f"{ns / MS:.3f} ms"


def _lines(found: NameLookup, ink: Ink) -> Iterator[str]:
    types = " ".join(found.types)
    yield ink.bold(f"; {found.name} {types} from {found.source} at {duration_text(found.at_ns)}")
    conf = found.conf
    yield f";; resolver {found.libc}, nameserver {' '.join(conf.nameservers)}" + (
        f", options {' '.join(conf.options)}" if conf.options else ""
    )
    if conf.searches:
        yield f";; search {' '.join(conf.searches)}"
    yield ""
    yield ink.bold(";; LOOKUP STEPS:")
    width = max((len(each.name) for each in found.asked), default=0)
    several = len(conf.nameservers) > 1
    outcome = max((len(each.outcome) for each in found.asked), default=0)
    for each in found.asked:
        took = f"{each.took_ns / MS:>8.3f} ms" if each.took_ns is not None else f"{'–':>8}   "
        way = " ".join(filter(None, (each.server if several else "", "tcp" if each.transport == "tcp" else "", each.pod)))
        asked = f"{each.at_ns / MS:>9.3f} ms  {each.name:<{width}}  {each.type:<5}"
        yield f"{asked}  {each.outcome:<{outcome}}  {took}  {way}".rstrip()
    yield ""
    if found.answer is None:
        yield ink.bad(";; no servers could be reached") + f" ({found.status})"
    else:
        answer = found.answer
        status = answer.rcode if answer.rcode == "NOERROR" else ink.bad(answer.rcode)
        flags = "qr rd ra" if answer.forwarded else "qr aa rd"
        counts = f"ANSWER: {len(answer.answer)}, AUTHORITY: {len(answer.authority)}, ADDITIONAL: {len(answer.additional)}"
        yield f";; status: {status}; flags: {flags}; QUERY: {len(found.types)}, {counts}"
        yield ""
        yield ";; QUESTION SECTION:"
        for rtype in found.types:
            yield f";{found.question}  IN  {rtype}"
        yield from section_lines(answer)
    yield ""
    yield f";; Query time: {_ms(found.took_ns)}, {len(found.asked)} {'query' if len(found.asked) == 1 else 'queries'}"
    if found.answer is not None:
        last = next(each for each in reversed(found.asked) if each.answer is not None)
        yield f";; SERVER: {last.server}#53" + (f" ({last.pod})" if last.pod else "")
        if len(found.types) == 1:
            yield f";; MSG SIZE  rcvd: {answer_bytes(found.question, found.answer)}"
    if found.hint:
        yield f";; {found.hint}"


def as_json(found: NameLookup) -> dict[str, Any]:
    """The look-up as data; times in nanoseconds."""
    answer = found.answer
    return {
        "name": found.name,
        "types": list(found.types),
        "from": found.source,
        "at_ns": found.at_ns,
        "resolver": {
            "libc": found.libc, "nameservers": list(found.conf.nameservers), "search": list(found.conf.searches),
            "options": list(found.conf.options),
        },
        "steps": [
            {
                "at_ns": each.at_ns, "name": each.name, "type": each.type, "transport": each.transport, "server": each.server,
                "pod": each.pod, "outcome": each.outcome, "took_ns": each.took_ns,
            }
            for each in found.asked
        ],
        "question": found.question,
        "status": None if answer is None else answer.rcode,
        "answer": [] if answer is None else [record_data(record) for record in answer.answer],
        "authority": [] if answer is None else [record_data(record) for record in answer.authority],
        "additional": [] if answer is None else [record_data(record) for record in answer.additional],
        "took_ns": found.took_ns,
        "hint": found.hint,
    }
