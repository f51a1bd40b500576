"""Kind `resolver`: the names that a stub resolver tries in a small world of names, and the queries it sends."""

from __future__ import annotations

from svcsim.kube.dns.lookup import Family, Resolution
from svcsim.kube.dns.records import Answer, address_record
from svcsim.kube.dns.resolv_conf import ResolvConf
from svcsim.kube.dns.resolver import Resolver
from svcsim.linux.address import parse_address

KIND = "resolver"

ADDRESS = parse_address("192.0.2.1")


def _resolve(vector: dict, lookup: dict, family: Family) -> Resolution:
    existing, empty = set(vector["world_with_answer"]), set(vector["world_nodata"])
    failing = set(vector.get("world_servfail", ()))
    conf = ResolvConf(("10.96.0.10",), tuple(lookup["search"]), (f"ndots:{lookup['ndots']}",))
    machine = Resolver(conf, lookup["resolver"]).start(lookup["lookup"], 0, family)
    now_ns = 0
    while machine.result is None:
        queries = machine.next_queries()
        for query in queries:
            if query.name in existing:
                found = (address_record(query.name, 30, ADDRESS),) if query.type == "A" else ()
                answer = Answer(answer=found)
            elif query.name in failing:
                answer = Answer("SERVFAIL")
            else:
                answer = Answer("NOERROR" if query.name in empty else "NXDOMAIN")
            machine.on_answer(query.ident, answer, now_ns)
        if not queries:
            now_ns = machine.deadline_ns
            machine.on_timeout(now_ns)
    return machine.result


def run(vector: dict) -> None:
    for lookup in vector["lookups"]:
        both = _resolve(vector, lookup, "any")
        candidates = [{"name": each.name, "result": each.outcome} for each in both.candidates]
        assert candidates == lookup["candidates"], lookup["lookup"]
        assert both.name == lookup["resolves_to"]
        assert len(both.candidates) == lookup["names_tried"]
        assert both.queries_sent == lookup["queries_A_and_AAAA"]
        assert _resolve(vector, lookup, "IPv4").queries_sent == lookup["queries_A_only"]
