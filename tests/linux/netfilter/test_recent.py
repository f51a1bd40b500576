from __future__ import annotations

from svcsim.linux.netfilter.recent import LIST_LENGTH, RecentState

SECOND = 10**9


def test_a_source_is_remembered_for_so_many_seconds_and_no_longer() -> None:
    recent = RecentState()
    recent.stamp("list", 1, 100 * SECOND)
    assert recent.check("list", 1, 10, 110 * SECOND, reap=False)
    assert not recent.check("list", 1, 10, 110 * SECOND + 1, reap=False)
    assert not recent.check("list", 2, 10, 100 * SECOND, reap=False)
    assert not recent.check("other", 1, 10, 100 * SECOND, reap=False)


def test_a_full_list_forgets_the_source_that_it_saw_least_recently() -> None:
    recent = RecentState()
    for source in range(LIST_LENGTH):
        recent.stamp("list", source, source)
    recent.stamp("list", 0, 1000)
    recent.stamp("list", 7777, 1001)
    assert recent.check("list", 0, 10, 1001, reap=False)
    assert not recent.check("list", 1, 10, 1001, reap=False)
    assert len(recent.lists["list"]) == LIST_LENGTH


def test_reaping_takes_the_oldest_entry_alone_and_only_when_the_source_is_listed() -> None:
    recent = RecentState()
    for source in (1, 2, 3):
        recent.stamp("list", source, source * SECOND)
    now = 100 * SECOND
    recent.check("list", 9, 10, now, reap=True)
    assert list(recent.lists["list"]) == [1, 2, 3]
    assert not recent.check("list", 3, 10, now, reap=True)
    assert list(recent.lists["list"]) == [2, 3]


def test_lists_of_rules_that_are_gone_go_too() -> None:
    recent = RecentState()
    recent.stamp("list", 1, 0)
    recent.forget(["list", "unknown"])
    assert recent.contents() == {}
