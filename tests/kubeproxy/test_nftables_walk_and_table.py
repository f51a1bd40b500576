"""The walk of the rules and the compiled table say the same and leave the same behind."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_names import SERVICES
from svcsim.kubeproxy.nftables_proxier import NftablesProxier, local_addresses
from svcsim.linux.nftables import listing, text
from svcsim.linux.nftables.walk import RulesetView, walk
from svcsim.linux.packet import Verdict
from tests.kubeproxy.nftables_clusters import PLANS, packets, proxy_settings, services, slices

SECOND = 1_000_000_000


def live(proxier: NftablesProxier, now_ns: int) -> dict[str, dict[int, int]]:
    return {name: found for name, entries in proxier.table.dynamic_sets.items() if (found := entries.live(now_ns))}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_walk_and_compiled_table_agree_over_sequences_of_packets_and_syncs(data: st.DataObject) -> None:
    plan = PLANS[data.draw(st.sampled_from(("IPv4", "IPv6")))]
    set_up = data.draw(proxy_settings(plan))
    old_form = data.draw(st.booleans())
    catalogue, library = Catalogue(plan.family), ProgrammeLibrary()
    walked, decided = (
        NftablesProxier(set_up, ChangeTracker(catalogue, "n0"), library, matches_port_again=old_form) for _ in range(2)
    )
    now_ns = 0
    count = data.draw(st.integers(1, 3))
    for _ in range(data.draw(st.integers(1, 3))):
        for index in range(count):
            service = data.draw(services(plan, index))
            piece = data.draw(slices(plan, index, service))
            for proxier in (walked, decided):
                proxier.tracker.on_service(service)
                proxier.tracker.on_slice(piece)
        assert walked.sync(now_ns)[1] == decided.sync(now_ns)[1]
        read_back = RulesetView(text.parse(walked.table.text()), walked.table.dynamic_sets)
        for _ in range(data.draw(st.integers(1, 12))):
            now_ns += data.draw(st.sampled_from((0, SECOND, 4 * SECOND)))
            packet = data.draw(packets(plan))
            uniform = data.draw(st.floats(0, 1, exclude_max=True))
            before = {name: dict(entries.expiry_ns) for name, entries in walked.table.dynamic_sets.items()}
            by_walk, steps = walked.table.walk(packet, uniform, now_ns)
            by_table = decided.table.decide(packet, uniform, now_ns)
            assert by_walk == by_table, "\n".join(map(str, steps))
            assert by_walk.rules == len(steps)
            assert live(walked, now_ns) == live(decided, now_ns)
            for name, entries in walked.table.dynamic_sets.items():
                entries.expiry_ns = before.get(name, {})
            by_text, _ = walk(read_back, local_addresses(set_up), packet, uniform, now_ns, SERVICES)
            assert by_text == by_walk
            assert live(walked, now_ns) == live(decided, now_ns)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_both_texts_of_a_generated_table_read_back_as_the_same_table(data: st.DataObject) -> None:
    plan = PLANS[data.draw(st.sampled_from(("IPv4", "IPv6")))]
    tracker = ChangeTracker(Catalogue(plan.family), "n0")
    for index in range(data.draw(st.integers(0, 3))):
        service = data.draw(services(plan, index))
        tracker.on_service(service)
        tracker.on_slice(data.draw(slices(plan, index, service)))
    proxier = NftablesProxier(data.draw(proxy_settings(plan)), tracker, ProgrammeLibrary())
    proxier.sync(0)
    ruleset = proxier.table.ruleset()
    assert text.parse(text.render(ruleset)) == ruleset
    assert listing.parse(listing.render(ruleset)) == ruleset


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_sequence_of_syncs_ends_in_the_table_that_one_sync_writes(data: st.DataObject) -> None:
    plan = PLANS["IPv4"]
    set_up = data.draw(proxy_settings(plan))
    catalogue = Catalogue("IPv4")
    library = ProgrammeLibrary()
    gradual = NftablesProxier(set_up, ChangeTracker(catalogue, "n0"), library)
    final = {}
    for turn in range(data.draw(st.integers(1, 4))):
        for index in range(3):
            service = data.draw(services(plan, index))
            piece = data.draw(slices(plan, index, service))
            if data.draw(st.booleans()):
                final[index] = (service, piece)
                gradual.tracker.on_service(service)
                gradual.tracker.on_slice(piece)
            elif index in final and data.draw(st.booleans()):
                gone, piece = final.pop(index)
                gradual.tracker.on_service_deleted(gone.metadata.key)
                gradual.tracker.on_slice_deleted(piece)
        gradual.sync(turn * 5 * SECOND)
    gradual.sync(100 * SECOND)
    at_once = NftablesProxier(set_up, ChangeTracker(catalogue, "n0"), library)
    for service, piece in final.values():
        at_once.tracker.on_service(service)
        at_once.tracker.on_slice(piece)
    at_once.sync(0)
    assert gradual.table.ruleset() == at_once.table.ruleset()
    assert gradual.table.contents is at_once.table.contents


def test_the_generator_reaches_every_verdict() -> None:
    seen: set[Verdict] = set()

    @settings(max_examples=120, deadline=None, database=None, derandomize=True)
    @given(st.data())
    def explore(data: st.DataObject) -> None:
        plan = PLANS["IPv4"]
        tracker = ChangeTracker(Catalogue("IPv4"), "n0")
        for index in range(2):
            service = data.draw(services(plan, index))
            tracker.on_service(service)
            tracker.on_slice(data.draw(slices(plan, index, service)))
        proxier = NftablesProxier(data.draw(proxy_settings(plan)), tracker, ProgrammeLibrary())
        proxier.sync(0)
        seen.add(proxier.table.decide(data.draw(packets(plan)), 0.5, 0).verdict)

    explore()
    assert seen == set(Verdict)
