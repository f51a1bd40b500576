"""A mode looks the same in every figure, also where variants are of a mode and of something else."""

from __future__ import annotations

from svcsim.report.looks import LOOKS, looks


def test_variants_of_several_modes_have_their_modes_colours_and_stay_apart() -> None:
    labels = ["few/iptables", "ipvs/rr/few", "ipvs/rr/many", "few/nftables", "else"]
    found = looks(labels)
    assert list(found) == labels
    assert [found[label].colour for label in labels[:4]] == [
        LOOKS[mode].colour for mode in ("iptables", "ipvs/rr", "ipvs/rr", "nftables")
    ]
    assert len({(look.colour, look.dash) for look in found.values()}) == len(labels)
    assert len({(look.colour, look.marker) for look in found.values()}) == len(labels)


def test_variants_of_one_mode_are_told_apart_by_colour() -> None:
    found = looks(["iptables/few", "iptables/many"])
    assert len({look.colour for look in found.values()}) == 2
