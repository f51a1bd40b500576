"""What a cluster DNS server answers: from a question and the objects it has seen to a rcode and records.

A name error (NXDOMAIN) means that nothing has the name; a name that exists without the type asked for gives
an empty NOERROR answer; both carry the zone's SOA. A CNAME (ExternalName) is completed, in the zone or by the
upstream.

Sources: kubernetes/dns docs/specification.md 1.1.0; coredns plugin/backend_lookup.go and
plugin/kubernetes/handler.go; for kube-dns skydns server.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from svcsim.kube.dns.config import DnsConfig, absolute
from svcsim.kube.dns.coredns import CorednsNames
from svcsim.kube.dns.kubedns import KubeDnsNames
from svcsim.kube.dns.records import Answer, Rcode, Record, RecordType, Soa, Srv, address_record
from svcsim.kube.dns.zone import NO_PORT, Target, Zone
from svcsim.linux.address import Address, is_ipv6, parse_address

SCHEMA_VERSION = "1.1.0"
SCHEMA_TTL = 28800
_CNAME_CHAIN_MAX = 8
_SOA_TTL_MAX = 300


def reverse_address(name: str) -> Address | None:
    """The address that a lower-case reverse name spells in full, else None."""
    if name.endswith(".in-addr.arpa."):
        text = ".".join(reversed(name.removesuffix(".in-addr.arpa.").split(".")))
    elif name.endswith(".ip6.arpa."):
        nibbles = name.removesuffix(".ip6.arpa.").split(".")
        if any(len(nibble) != 1 for nibble in nibbles):
            return None
        digits = "".join(reversed(nibbles))
        text = ":".join(digits[index : index + 4] for index in range(0, len(digits), 4))
    else:
        return None
    try:
        return parse_address(text)
    except ValueError:
        return None


def reverse_name(address: Address) -> str:
    """The reverse name of an address."""
    bits = address & ((1 << 128) - 1)
    pointer = ipaddress.IPv6Address(bits) if is_ipv6(address) else ipaddress.IPv4Address(bits)
    return pointer.reverse_pointer + "."


def within(name: str, zone: str) -> bool:
    """Whether a lower-case name is the zone or below it."""
    return zone in (".", name) or name.endswith("." + zone)


class _NameErrorFound(Exception):
    """Nothing has the name."""


class DnsServer:
    """A server's answers from a Zone, which it reads and never changes."""

    def __init__(self, zone: Zone, config: DnsConfig) -> None:
        self.zone = zone
        self.config = config
        self._names = KubeDnsNames(zone) if config.dialect == "kube-dns" else CorednsNames(zone, config)
        self._zones = sorted((absolute(name.lower()) for name in config.zones), key=len, reverse=True)
        self._ttl = config.ttl

    def answer(self, qname: str, qtype: str) -> Answer:
        """The answer to a question of class IN; `qname` is absolute, with or without its final dot."""
        return self._answer(absolute(qname), qtype, 0)

    def _zone_of(self, lower: str) -> str | None:
        for zone in self._zones:
            if within(lower, zone):
                return zone
        return None

    def _answer(self, qname: str, qtype: str, depth: int) -> Answer:
        lower = qname.lower()
        zone = self._zone_of(lower)
        if zone is None:
            if qtype == "PTR" and self.config.dialect != "coredns" and reverse_address(lower) is not None:
                records = self._pointer_records(qname, lower)
                return Answer(answer=records) if records else self._forward(qname, qtype)
            return self._forward(qname, qtype)
        apex = qname[len(qname) - len(zone) :]
        try:
            found = self._records(qname, lower, apex, qtype, depth)
        except _NameErrorFound:
            if any(within(lower, absolute(name.lower())) for name in self.config.fallthrough):
                return self._forward(qname, qtype)
            if not self.zone.synced:
                return Answer("SERVFAIL", authority=(self._soa(apex),))
            return Answer("NXDOMAIN", authority=(self._soa(apex),))
        if not found.answer and found.rcode == "NOERROR":
            return replace(found, authority=(self._soa(apex),), additional=())
        return found

    def _records(self, qname: str, lower: str, apex: str, qtype: str, depth: int) -> Answer:
        if qtype in ("A", "AAAA"):
            return self._addresses(qname, lower, apex, qtype == "AAAA", (), depth)
        if qtype == "SRV":
            return self._services(qname, lower, apex, depth)
        if qtype == "PTR":
            return self._pointers(qname, lower, apex)
        if qtype == "CNAME":
            return self._aliases(qname, lower, apex)
        if qtype == "TXT":
            return self._texts(qname, lower, apex)
        if qtype == "SOA":
            return Answer(answer=(self._soa(apex),) if lower == apex.lower() else ())
        if qtype in ("AXFR", "IXFR"):
            return Answer("REFUSED")
        if qtype == "NS" and lower == apex.lower():
            return self._name_servers(apex)
        if not self._is_name_server(lower, apex):
            self._find(lower, apex)
        return Answer()

    def _find(self, lower: str, apex: str) -> tuple[Target, ...]:
        """The targets of a name among the cluster's objects."""
        base = "" if lower == apex.lower() else lower[: -len(apex) - 1]
        if not base and self.config.dialect != "kube-dns":
            return ()
        if lower.endswith((".in-addr.arpa.", ".ip6.arpa.")):
            if self.config.dialect != "kube-dns" and base in ("svc", "pod"):
                return ()
            raise _NameErrorFound
        found = self._names.find(base)
        if found is None:
            raise _NameErrorFound
        return found

    def _is_name_server(self, lower: str, apex: str) -> bool:
        return self.config.dialect != "kube-dns" and lower == f"ns.dns.{apex.lower()}"

    def _server_addresses(self) -> list[tuple[str, Address]]:
        return self._names.name_servers() if isinstance(self._names, CorednsNames) else []

    def _addresses(self, qname: str, lower: str, apex: str, ipv6: bool, previous: tuple[Record, ...], depth: int) -> Answer:
        records: list[Record] = []
        truncated = forwarded = False
        if self._is_name_server(lower, apex):
            addresses = [address for _, address in self._server_addresses() if is_ipv6(address) == ipv6]
            return Answer(answer=tuple(address_record(qname, self._ttl, address) for address in addresses))
        seen: set[Address] = set()
        rtype: RecordType = "AAAA" if ipv6 else "A"
        for target in self._find(lower, apex):
            host = target.host
            if target.in_zone:
                continue
            if isinstance(host, int):
                if is_ipv6(host) == ipv6 and host not in seen:
                    seen.add(host)
                    records.append(Record(qname, rtype, self._ttl, host))
                continue
            alias = self._alias(qname, lower, absolute(host), previous)
            if alias is None:
                continue
            name = str(alias.data)
            if within(name.lower(), apex.lower()):
                try:
                    rest = self._addresses(name, name.lower(), apex, ipv6, (*previous, alias), depth)
                except _NameErrorFound:
                    continue
                if rest.answer:
                    records += [alias, *rest.answer]
            else:
                if depth >= _CNAME_CHAIN_MAX:
                    continue
                rest = self._answer(name, rtype, depth + 1)
                records += [alias, *rest.answer]
            truncated |= rest.truncated
            forwarded |= rest.forwarded
        return Answer(answer=tuple(records), truncated=truncated, forwarded=forwarded)

    def _alias(self, qname: str, lower: str, target: str, previous: tuple[Record, ...]) -> Record | None:
        """The CNAME record, None where it would close a loop or the chain is too long."""
        if within(target.lower(), lower) or len(previous) >= _CNAME_CHAIN_MAX:
            return None
        if any(str(record.data).lower() == target.lower() for record in previous):
            return None
        return Record(qname, "CNAME", self._ttl, target)

    def _services(self, qname: str, lower: str, apex: str, depth: int) -> Answer:
        if self._is_name_server(lower, apex):
            glue = tuple(address_record(qname, self._ttl, address) for _, address in self._server_addresses())
            share = self._srv_shares(len(glue))
            record = Record(qname, "SRV", self._ttl, Srv(*share, 0, qname))
            return Answer(answer=(record,) if glue else (), additional=glue)
        kube_dns = self.config.dialect == "kube-dns"
        targets = [target for target in self._find(lower, apex) if kube_dns or not isinstance(target.host, str)]
        priority, weight = self._srv_shares(len(targets))
        records: dict[tuple[str, int], Record] = {}
        extra: dict[tuple[str, Address | str], Record] = {}
        for target in targets:
            if target.port == NO_PORT:
                continue
            host = target.host
            relative = target.owner if isinstance(host, int) else host if target.in_zone else ""
            name = f"{relative}.{apex}" if relative else absolute(str(host))
            data = Srv(priority, weight, target.port, name)
            records.setdefault((name, target.port), Record(qname, "SRV", self._ttl, data))
            if isinstance(host, int):
                extra.setdefault((name, host), address_record(name, self._ttl, host))
                continue
            for rtype in ("A", "AAAA"):
                for record in self._answer(name, rtype, depth + 1).answer if depth < _CNAME_CHAIN_MAX else ():
                    if not isinstance(record.data, (Srv, Soa)):
                        extra.setdefault((record.name, record.data), record)
        return Answer(answer=tuple(records.values()), additional=tuple(extra.values()))

    def _srv_shares(self, count: int) -> tuple[int, int]:
        """Priority and weight of each of `count` SRV targets."""
        if self.config.dialect == "spec":
            return 10, 100
        share = max(1, 100 // count) if count else 0
        return (10, share) if self.config.dialect == "kube-dns" else (0, share)

    def _pointers(self, qname: str, lower: str, apex: str) -> Answer:
        if reverse_address(lower) is None:
            self._find(lower, apex)
            return Answer()
        records = self._pointer_records(qname, lower)
        if not records:
            raise _NameErrorFound
        return Answer(answer=records)

    def _pointer_records(self, qname: str, lower: str) -> tuple[Record, ...]:
        address = reverse_address(lower)
        names: Iterable[str] = self._names.pointers(address) if address is not None else ()
        zone = self.config.primary_zone
        distinct = dict.fromkeys(f"{name}.{zone}" for name in names)
        return tuple(Record(qname, "PTR", self._ttl, name) for name in distinct)

    def _aliases(self, qname: str, lower: str, apex: str) -> Answer:
        targets = () if self._is_name_server(lower, apex) else self._find(lower, apex)
        if not targets or not isinstance(targets[0].host, str) or targets[0].in_zone:
            return Answer()
        return Answer(answer=(Record(qname, "CNAME", self._ttl, absolute(targets[0].host)),))

    def _texts(self, qname: str, lower: str, apex: str) -> Answer:
        if self.config.dialect != "kube-dns" and lower == f"dns-version.{apex.lower()}":
            return Answer(answer=(Record(qname, "TXT", SCHEMA_TTL, SCHEMA_VERSION),))
        if not self._find(lower, apex):
            raise _NameErrorFound
        return Answer()

    def _name_servers(self, apex: str) -> Answer:
        servers = [(f"{name}.{apex}", address) for name, address in self._server_addresses()]
        records = tuple(Record(apex, "NS", self._ttl, name) for name in dict.fromkeys(name for name, _ in servers))
        glue = tuple(address_record(name, self._ttl, address) for name, address in servers)
        return Answer(answer=records, additional=glue)

    def _soa(self, apex: str) -> Record:
        """The zone's SOA, timers as in coredns plugin.SOA or skydns NewSOA; the serial counts changes."""
        if self.config.dialect == "kube-dns":
            data = Soa(f"ns.dns.{apex}", f"hostmaster.{apex}", self.zone.revision, 28800, 7200, 604800, 60)
            return Record(apex, "SOA", 60, data)
        ttl = self._ttl
        data = Soa(f"ns.dns.{apex}", f"hostmaster.{apex}", self.zone.revision, 7200, 1800, 86400, ttl)
        return Record(apex, "SOA", min(ttl, _SOA_TTL_MAX), data)

    def _forward(self, qname: str, qtype: str) -> Answer:
        """What the upstream says of a name, its aliases followed."""
        records: list[Record] = []
        name, truncated = qname, False
        rcode: Rcode = "NOERROR"
        for _ in range(_CNAME_CHAIN_MAX):
            known = self.config.upstream.get(name.lower())
            if known is None:
                rcode = "NXDOMAIN"
                break
            truncated |= known.truncated
            wanted = [record for record in known.records if record.type == qtype]
            aliases = [record for record in known.records if record.type == "CNAME"]
            records += wanted or aliases
            if wanted or not aliases:
                break
            name = str(aliases[-1].data)
        else:
            rcode = "SERVFAIL"
        return Answer(rcode, tuple(records), truncated=truncated, forwarded=True)
