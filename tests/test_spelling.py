"""The nearest valid name, the valid names if they are few, or nothing."""

from svcsim.spelling import nearest


def test_a_near_name_is_proposed() -> None:
    assert nearest("nftable", ["iptables", "nftables"]) == " (did you mean 'nftables'?)"


def test_few_names_are_listed_in_order() -> None:
    assert nearest("zzz", ["b", "a", "b"]) == " (valid: a, b)"


def test_of_many_names_those_with_the_word_in_them_are_proposed() -> None:
    timings = [*(f"name-{number}" for number in range(20)), "kubeletRelist", "nodeBoot"]
    assert nearest("relist", timings) == " (did you mean 'kubeletRelist'?)"
    assert nearest("a", timings) == ""


def test_many_far_names_are_not() -> None:
    assert nearest("zzz", [f"name-{number}" for number in range(20)]) == ""
    assert nearest("zzz", []) == ""
