"""Profiles as data: what a file has to say, what a user may leave out, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcsim.calibration.costs import costs_of
from svcsim.calibration.entries import MODES
from svcsim.calibration.profile import load_profile, parse_profile, shipped_profiles
from svcsim.errors import InputError, UsageError

OWN = """
[profile]
name = "mine"
base = "linux-6.18-measured"

[modes.iptables.service_rule_tcp_beyond]
value = 9.5
unit = "ns"
basis = "measured"
source = "perf on my host"
"""


def messages(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_profile(text, "mine.toml")
    return [str(problem) for problem in caught.value.problems]


def test_every_shipped_entry_has_basis_source_inference_and_a_spread_around_its_value() -> None:
    for name in shipped_profiles():
        for entry in load_profile(name).entries.values():
            assert entry.source
            assert entry.inferred, entry.path
            if entry.spread is not None:
                assert entry.spread[0] <= entry.value <= entry.spread[1], entry.path


def test_a_users_file_replaces_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    own, base = load_profile(file), load_profile()
    assert own.name == "mine"
    assert own.entry("modes.iptables.service_rule_tcp_beyond").value == 9.5
    assert own.entry("path.forward") == base.entry("path.forward")


def test_a_mode_inherits_what_a_users_file_replaces_in_its_parent() -> None:
    own = parse_profile(OWN, "mine.toml")
    assert costs_of(own, "userspace").service_rule_tcp_beyond_ns == 9.5
    assert costs_of(own, "iptables", "nft").service_rule_tcp_beyond_ns == 15.82


def test_a_file_without_a_base_has_to_be_complete() -> None:
    lines = messages(OWN.replace('base = "linux-6.18-measured"', ""))
    assert any("path.forward: is missing" in line for line in lines)


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("value = 9.5", "value = -1", "mine.toml:7:1: modes.iptables.service_rule_tcp_beyond.value: a finite number, not below zero"),
    ("value = 9.5", "value = nan", "a finite number"),
    ("value = 9.5", "value = 1e30", "above the limit"),
    ("value = 9.5", 'value = "fast"', "a number is expected"),
    ("value = 9.5", "value = true", "a number is expected"),
    ('unit = "ns"', 'unit = "KiB"', "mine.toml:8:1: modes.iptables.service_rule_tcp_beyond.unit: 'KiB' is not a unit"),
    ('unit = "ns"', "", "unit is missing"),
    ('basis = "measured"', 'basis = "guessed"', "'guessed' is no basis (valid: assumed, derived, measured, published)"),
    ('source = "perf on my host"', 'source = ""', "a source says where the value comes from"),
    ('source = "perf on my host"', "source = 'x'\nspread = [3, 1]", "two numbers, the lower first"),
    ('source = "perf on my host"', "source = 'x'\nspred = [1, 3]", "no such field (did you mean 'spread'?)"),
    ("modes.iptables.", "modes.iptabels.", "mine.toml:6:1: modes.iptabels: no such mode (did you mean 'iptables'?)"),
    ("service_rule_tcp_beyond", "service_rule_tcp_byond", "no such entry (did you mean 'service_rule_tcp_beyond'?)"),
    ("modes.iptables.service", "pathh.service", "no such group (did you mean 'path'?)"),
    ("linux-6.18-measured", "linux-6.18", "is no profile of svcsim (did you mean 'linux-6.18-measured'?)"),
    ('name = "mine"', "nam = 'mine'", "no such field (did you mean 'name'?)"),
    ('name = "mine"', 'name = "mine"\niptables_backend = "legcy"', "'legcy' is no back end of iptables (did you mean 'legacy'?)"),
    ("[profile]", "[profile", "mine.toml:2:9: is not TOML"),
    ("[modes.iptables.service_rule_tcp_beyond]", "[modes.iptables]\ninherits = 'iptables'\n[modes.ipvs.masquerade]",
     "modes.iptables.inherits: another mode is expected"),
])
def test_a_mistake_is_one_line_with_its_place(old: str, new: str, expected: str) -> None:
    lines = messages(OWN.replace(old, new, 1))
    assert any(expected in line for line in lines), lines


def test_mistakes_are_reported_together() -> None:
    lines = messages(OWN.replace("9.5", "-1").replace('"ns"', '"km"').replace('"measured"\n', '"felt"\n'))
    assert len(lines) == 3


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 5000, b"", b"profile = 1", b"modes = 1", b"path = []"])
def test_a_file_that_is_no_profile_is_an_input_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(InputError):
        load_profile(file)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'linux-6\.18-measured'"):
        load_profile("linux-6.18-measred")


def test_overrides_are_in_the_entrys_unit_and_count_as_assumed() -> None:
    profile = load_profile(overrides={"sockets.wakeup": 5.5, "modes.ipvs.first_packet": 4})
    assert costs_of(profile, "ipvs").wakeup_ns == 5500
    assert costs_of(profile, "ipvs").first_ns == 6700
    assert profile.bases("ipvs")["assumed"] > load_profile().bases("ipvs")["assumed"]
    assert profile.describe("ipvs").endswith("2 overridden")


def test_overrides_may_carry_a_unit() -> None:
    profile = load_profile(overrides={"sockets.wakeup": "4500 ns", "units.bytes": "1448B", "kernel.icmp_burst": "1"})
    costs = costs_of(profile, "iptables")
    assert (costs.wakeup_ns, costs.unit_bytes, costs.kernel.icmp_burst) == (4500, 1448, 1)


@pytest.mark.parametrize(("path", "value"), [
    ("sockets.wakeup", "1 KiB"), ("sockets.wakeup", "fast"), ("sockets.wakeup", "-1us"), ("units.bytes", "0B"),
    ("sockets.wakeup", ""),
    ("sockets.wakup", 1.0), ("sockets.wakeup", -1.0), ("kernel.syn_linear", 1.5), ("kernel.icmp_interval", 0.0),
    ("sockets.wakeup", float("inf")),
])
def test_overrides_that_cannot_be_are_refused(path: str, value: float | str) -> None:
    with pytest.raises(UsageError, match=path):
        load_profile(overrides={path: value})


def test_the_description_counts_what_is_not_measured() -> None:
    profile = load_profile()
    for mode in MODES:
        counts = profile.bases(mode)
        total, unmeasured = sum(counts.values()), sum(counts.values()) - counts["measured"]
        assert f"{total} costs, {unmeasured} not measured" in profile.describe(mode)


def test_only_userspace_counts_the_costs_of_its_process() -> None:
    profile = load_profile()
    assert sum(profile.bases("userspace").values()) > sum(profile.bases("iptables").values())


def test_costs_are_plain_numbers() -> None:
    for mode in MODES:
        key = mode.removesuffix("-nft").removesuffix("-without-comments")
        costs = costs_of(load_profile(), key, "nft" if mode.endswith("nft") else None, comments=not mode.endswith("comments"))
        assert costs.mode_key == mode
        assert all(type(getattr(costs, name)) in {int, float, str} for name in costs.__slots__[:-3])
        assert type(costs.first_packet_ns(7, 3, True, 6, same_vip_rules=2, endpoints=9)) is int
        assert type(costs.programming_ns("full", 100, 3, saved=True)) is int


def test_a_table_with_more_rules_a_service_takes_longer_to_write() -> None:
    costs = costs_of(load_profile(), "iptables")
    assert costs.programming_ns("full", 100, 0, 500) == costs.programming_ns("full", 100, 0)
    assert costs.programming_ns("full", 100, 0, 5000) == costs.programming_ns("full", 1000, 0)


def test_each_changed_service_of_a_partial_sync_is_written() -> None:
    costs = costs_of(load_profile(), "iptables")
    one, ten = (costs.programming_ns("partial", 1000, changed) for changed in (1, 10))
    assert ten - one == 9 * 25_000


def test_userspace_writes_nothing_when_endpoints_change() -> None:
    assert costs_of(load_profile(), "userspace").programming_ns("partial", 1000, 0) == 0
