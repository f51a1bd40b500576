"""Caches of answers: how long they keep what, and what they hand out."""

from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.dns.cache import COREDNS, DNSMASQ, NODE_LOCAL, AnswerCache, CacheSettings, life_ns
from svcsim.kube.dns.records import Answer, Record, Soa
from svcsim.linux.address import parse_address
from svcsim.units import S

NAME = "web.default.svc.cluster.local."


def soa(minimum):
    zone = "cluster.local."
    return Record(zone, "SOA", minimum, Soa(f"ns.dns.{zone}", f"hostmaster.{zone}", 1, 7200, 1800, 86400, minimum))


def found(ttl=30):
    return Answer(answer=(Record(NAME, "A", ttl, parse_address("10.96.0.1")),))


def denied(minimum=30):
    return Answer("NXDOMAIN", authority=(soa(minimum),))


def test_a_success_is_kept_for_its_ttl_up_to_the_limit():
    assert [life_ns(found(ttl), COREDNS) // S for ttl in (1, 5, 20, 30, 3600)] == [5, 5, 20, 30, 30]


def test_a_denial_is_kept_for_what_the_soa_says_up_to_the_limit():
    assert [life_ns(denied(minimum), COREDNS) // S for minimum in (1, 30, 60)] == [5, 30, 30]
    assert life_ns(denied(), NODE_LOCAL) == 5 * S
    assert life_ns(Answer(authority=(soa(30),)), NODE_LOCAL) == 5 * S, "NODATA is a denial"


def test_dnsmasq_before_kube_dns_keeps_no_denials():
    assert life_ns(denied(), DNSMASQ) == 0
    assert life_ns(found(), DNSMASQ) == 30 * S


def test_a_failure_is_kept_for_five_seconds_and_a_truncated_answer_never():
    assert life_ns(Answer("SERVFAIL"), COREDNS) == 5 * S
    assert life_ns(Answer("REFUSED"), COREDNS) == 0
    assert life_ns(Answer(answer=found().answer, truncated=True), COREDNS) == 0


@given(st.integers(0, 40 * S), st.integers(1, 60))
def test_what_is_handed_out_is_alive_and_says_for_how_long(age_ns, ttl):
    cache = AnswerCache(COREDNS)
    cache.put(NAME, "A", found(ttl), 7)
    kept = cache.get(NAME.upper(), "A", 7 + age_ns)
    life = min(30, max(5, ttl)) * S
    assert (kept is not None) == (age_ns < life)
    if kept is not None:
        left = life - age_ns
        assert left <= kept.answer[0].ttl * S < left + S
        assert not kept.forwarded


def test_a_name_has_one_truth_at_a_time():
    cache = AnswerCache(COREDNS)
    cache.put(NAME, "A", denied(), 0)
    cache.put(NAME, "A", found(), 1 * S)
    assert cache.get(NAME, "A", 2 * S).rcode == "NOERROR"
    assert cache.get(NAME, "AAAA", 2 * S) is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_a_full_cache_forgets_what_came_first():
    cache = AnswerCache(CacheSettings(capacity=2))
    for name in ("a.", "b.", "c."):
        cache.put(name, "A", found(), 0)
    assert [cache.get(name, "A", 1) is not None for name in ("a.", "b.", "c.")] == [False, True, True]
