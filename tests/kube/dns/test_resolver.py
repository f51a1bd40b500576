"""The stub resolver asks, waits and gives up as glibc's and musl's do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.dns.lookup import Lookup, Query
from svcsim.kube.dns.records import Answer, address_record
from svcsim.kube.dns.resolv_conf import ResolvConf
from svcsim.kube.dns.resolver import Resolver
from svcsim.linux.address import parse_address

SECOND = 1_000_000_000
SEARCH = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
NXDOMAIN = Answer("NXDOMAIN")
NODATA = Answer()


def positive(query: Query) -> Answer:
    text = "192.0.2.1" if query.type == "A" else "2001:db8::1"
    return Answer(answer=(address_record(query.name, 30, parse_address(text)),))


def resolver(*options: str, servers: int = 1, libc: str = "glibc", search: tuple[str, ...] = SEARCH) -> Resolver:
    nameservers = tuple(f"10.96.0.{10 + number}" for number in range(servers))
    return Resolver(ResolvConf(nameservers, search, options or ("ndots:5",)), libc)


def expire(lookup: Lookup) -> tuple[Query, ...]:
    lookup.on_timeout(lookup.deadline_ns)
    return lookup.next_queries()


def test_a_silent_server_costs_ten_seconds_a_name_and_ends_the_search() -> None:
    lookup = resolver().start("web", 0)
    names = [query.name for query in lookup.next_queries()]
    while lookup.result is None:
        names += [query.name for query in expire(lookup)]
    assert names == ["web.default.svc.cluster.local."] * 4 + ["web."] * 4
    assert lookup.deadline_ns == 20 * SECOND
    assert lookup.result.status == "try again"
    assert lookup.result.queries_sent == 8


def test_one_lost_answer_costs_five_seconds_and_then_questions_go_one_by_one() -> None:
    process = resolver()
    lookup = process.start("web", 0)
    a, _ = lookup.next_queries()
    lookup.on_answer(a.ident, positive(a), 1000)
    assert lookup.next_queries() == ()
    (again,) = expire(lookup)
    assert (again.type, lookup.deadline_ns) == ("A", 10 * SECOND)
    lookup.on_answer(again.ident, positive(again), 5 * SECOND + 1000)
    (second,) = lookup.next_queries()
    assert second.type == "AAAA"
    lookup.on_answer(second.ident, NODATA, 5 * SECOND + 2000)
    assert lookup.result is not None
    assert lookup.result.status == "ok"
    process.learn(lookup)
    assert [query.type for query in process.start("web", 0).next_queries()] == ["A"]


def test_a_late_answer_to_the_first_copy_counts() -> None:
    lookup = resolver().start("web.", 0)
    first = lookup.next_queries()
    expire(lookup)
    for query in first:
        lookup.on_answer(query.ident, positive(query), 6 * SECOND)
    assert lookup.result is not None
    assert len(lookup.result.addresses) == 2


def test_an_answer_for_an_earlier_name_is_ignored() -> None:
    lookup = resolver().start("web", 0)
    first = lookup.next_queries()
    for query in first:
        lookup.on_answer(query.ident, NXDOMAIN, 1)
    lookup.on_answer(first[0].ident, positive(first[0]), 2)
    assert lookup.result is None
    assert lookup.next_queries()[0].name == "web.svc.cluster.local."


def test_refusals_end_a_glibc_look_up_at_once() -> None:
    lookup = resolver().start("web", 0)
    rounds = 0
    while lookup.result is None:
        query = lookup.next_queries()[0]
        lookup.on_refused(query.ident, 0)
        rounds += 1
    assert rounds == 2
    assert lookup.result.status == "try again"


def test_musl_does_not_hear_refusals() -> None:
    lookup = resolver(libc="musl").start("web", 0)
    lookup.on_refused(lookup.next_queries()[0].ident, 0)
    assert lookup.result is None


def test_musl_repeats_halfway_and_gives_up_at_its_time_out() -> None:
    lookup = resolver(libc="musl").start("web", 0)
    sent = [len(lookup.next_queries())]
    times = [lookup.deadline_ns]
    while lookup.result is None:
        sent.append(len(expire(lookup)))
        times.append(lookup.deadline_ns)
    assert sent == [2, 2, 0]
    assert times == [2.5 * SECOND, 5 * SECOND, 5 * SECOND]
    assert lookup.result.status == "try again"


def test_musl_asks_all_servers_at_once_and_glibc_one_after_the_other() -> None:
    musl = resolver(servers=3, libc="musl").start("web.", 0)
    assert [query.server for query in musl.next_queries()] == [0, 1, 2, 0, 1, 2]
    glibc = resolver(servers=3).start("web.", 0)
    seen, waits, now = [], [], 0
    queries = glibc.next_queries()
    while queries:
        seen.append(queries[0].server)
        waits.append((glibc.deadline_ns - now) // SECOND)
        now = glibc.deadline_ns
        queries = expire(glibc)
    assert seen == [0, 1, 2, 0, 1, 2]
    assert waits == [5, 3, 6, 5, 3, 6]


def test_rotate_starts_each_look_up_at_the_next_server() -> None:
    process = resolver("ndots:5", "rotate", servers=2)
    assert [process.start("web.", 0).next_queries()[0].server for _ in range(3)] == [0, 1, 0]


def test_options_change_time_and_rounds() -> None:
    lookup = resolver("ndots:1", "timeout:2", "attempts:3").start("web.", 0)
    lookup.next_queries()
    while lookup.result is None:
        expire(lookup)
    assert lookup.deadline_ns == 6 * SECOND


def test_a_truncated_answer_is_asked_again_over_tcp() -> None:
    for libc in ("glibc", "musl"):
        lookup = resolver(libc=libc).start("web.", 0, "IPv4")
        (query,) = lookup.next_queries()
        lookup.on_answer(query.ident, Answer(truncated=True), 1)
        (again,) = lookup.next_queries()
        assert again.transport == "tcp"
        lookup.on_answer(again.ident, positive(again), 2)
        assert lookup.result is not None
        assert lookup.result.status == "ok"


def test_a_failing_server_is_passed_over_and_the_search_goes_on() -> None:
    lookup = resolver().start("web", 0, "IPv4")
    rounds = []
    while lookup.result is None:
        (query,) = lookup.next_queries()
        rounds.append(query.name)
        found = query.name == "web.svc.cluster.local."
        lookup.on_answer(query.ident, positive(query) if found else Answer("SERVFAIL"), 0)
    assert rounds == ["web.default.svc.cluster.local."] * 2 + ["web.svc.cluster.local."]
    assert [candidate.outcome for candidate in lookup.result.candidates] == ["SERVFAIL", "ANSWER"]


def test_a_failed_half_does_not_spoil_the_other() -> None:
    lookup = resolver().start("web.", 0)
    a, aaaa = lookup.next_queries()
    lookup.on_answer(aaaa.ident, Answer("SERVFAIL"), 0)
    lookup.on_answer(a.ident, positive(a), 0)
    assert lookup.result is not None
    assert lookup.result.addresses == (parse_address("192.0.2.1"),)


def test_the_root_in_the_search_list_is_the_bare_name() -> None:
    assert resolver(search=("corp.example", ".")).names("host") == ["host.corp.example.", "host."]


def test_no_tld_query_keeps_a_single_label_from_the_root() -> None:
    assert resolver("ndots:5", "no-tld-query").names("host")[-1] == "host.cluster.local."


def test_the_name_with_enough_dots_is_tried_bare_first() -> None:
    assert resolver("ndots:1").names("a.b") == ["a.b."] + [f"a.b.{domain}." for domain in SEARCH]
    assert resolver("ndots:1", libc="musl").names("a.b") == ["a.b."]


@given(st.lists(st.sampled_from(["nxdomain", "nodata", "servfail", "refused", "lost", "truncated"]), min_size=1))
@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_every_look_up_ends_whatever_happens(libc: str, fates: list[str]) -> None:
    lookup = resolver(servers=2, libc=libc).start("a.b", 0)
    now, turn = 0, 0
    for _ in range(2000):
        if lookup.result is not None:
            break
        queries = lookup.next_queries()
        for query in queries:
            fate = fates[turn % len(fates)]
            turn += 1
            if fate == "refused":
                lookup.on_refused(query.ident, now)
            elif fate == "truncated":
                lookup.on_answer(query.ident, Answer(truncated=query.transport == "udp"), now)
            elif fate != "lost":
                rcode = {"nxdomain": "NXDOMAIN", "nodata": "NOERROR", "servfail": "SERVFAIL"}[fate]
                lookup.on_answer(query.ident, Answer(rcode), now, query.server)
        if not queries:
            assert lookup.deadline_ns > now
            now = lookup.deadline_ns
            lookup.on_timeout(now)
    assert lookup.result is not None
    assert lookup.result.status != "ok"
    assert lookup.next_queries() == ()
