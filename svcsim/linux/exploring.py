"""All that can become of a packet, with probabilities: a walk repeated over its random number's range and over assumptions.

A walk takes one uniform number and tells at its end the range of it in which it goes the same way; going on from the end of that
range covers all choices, exactly. Where a walk asks what it cannot know (an interface, a match that svcsim doesn't know), both
answers are followed, each a `Branch`; if all branches come to the same, nothing depended on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from svcsim.linux.packet import Step, Verdict

MAX_BRANCHES = 32
"""Branches that are followed; a dump that needs more is told to depend on more than can be listed."""
MAX_TRIALS = 20_000

Assume = Callable[[str, str], bool]
"""Whether something holds that a walk cannot know: what of (`it comes in by`; empty if it stands alone), and its words.

What has a subject has one value: once it is known, patterns of it (`cni+`, `cni*`) are answered.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a packet. `verdict` None: it comes to a rule whose effect svcsim does not know.

    `source_after` is what SNAT makes the source; `why` names the unknown rule, or what refused.
    """

    verdict: Verdict | None
    destination: int
    port: int
    masquerade: bool = False
    source_after: tuple[int, int] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One walk: its outcome, the range of the uniform number that leads there, and the way."""

    outcome: Outcome
    passed: float
    below: float
    steps: tuple[Step, ...] = ()
    service_rules: int = 0
    statistic_rules: int = 0
    rules: int = 0
    endpoints: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """An outcome with its probability, and one walk that leads to it."""

    probability: float
    trial: Trial

    @property
    def outcome(self) -> Outcome:
        """What becomes of the packet."""
        return self.trial.outcome


@dataclass(frozen=True, slots=True)
class Branch:
    """What can happen if certain things hold or don't."""

    assumed: tuple[tuple[str, bool], ...]
    shares: tuple[Share, ...]

    @property
    def distribution(self) -> tuple[tuple[Outcome, float], ...]:
        """Outcomes and probabilities, rounded so that equal ones compare equal."""
        return tuple((share.outcome, round(share.probability, 9)) for share in self.shares)


@dataclass(frozen=True, slots=True)
class Possibilities:
    """All branches; `complete` is false if there are more than were followed."""

    branches: tuple[Branch, ...]
    complete: bool = True

    @property
    def decided(self) -> bool:
        """Whether the outcome does not depend on what isn't known."""
        return len(self.branches) == 1


@dataclass(slots=True)
class _Asking:
    """The answers of one branch, and the other branches that its questions open."""

    answers: dict[str, bool]
    opened: list[dict[str, bool]] = field(default_factory=list)

    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for words, answer in self.answers.items():
            subject, _, value = words.rpartition(" by ")
            if answer and subject and value[-1:] not in "+*":
                self.values[f"{subject} by"] = value

    def __call__(self, subject: str, value: str) -> bool:
        words = f"{subject} {value}" if subject else value
        if subject in self.values:
            return is_named(self.values[subject], value)
        if words not in self.answers:
            self.opened.append({**self.answers, words: True})
            self.answers[words] = False
        return self.answers[words]


def is_named(name: str, pattern: str) -> bool:
    """Whether an interface has the name, which may end in `+` (iptables) or `*` (nftables)."""
    return name.startswith(pattern[:-1]) if pattern[-1:] in ("+", "*") else name == pattern


def explore(attempt: Callable[[float, Assume], Trial]) -> Possibilities:
    """Everything that `attempt` (uniform, assume) can come to."""
    waiting: list[dict[str, bool]] = [{}]
    found: list[Branch] = []
    while waiting and len(found) < MAX_BRANCHES:
        asking = _Asking(waiting.pop())
        shares = _sweep(attempt, asking)
        waiting += asking.opened
        found.append(Branch(tuple(asking.answers.items()), shares))
    first = found[0].distribution
    if not waiting and all(branch.distribution == first for branch in found):
        return Possibilities((Branch((), found[0].shares),))
    return Possibilities(tuple(_merged(found)), not waiting)


def _sweep(attempt: Callable[[float, Assume], Trial], assume: Assume) -> tuple[Share, ...]:
    sums: dict[Outcome, float] = {}
    ways: dict[Outcome, Trial] = {}
    uniform = 0.0
    for _ in range(MAX_TRIALS):
        trial = attempt(uniform, assume)
        sums[trial.outcome] = sums.get(trial.outcome, 0.0) + trial.below - uniform
        ways.setdefault(trial.outcome, trial)
        uniform = trial.below
        if uniform >= 1.0:
            break
    return tuple(Share(probability, ways[outcome]) for outcome, probability in sums.items())


def _merged(branches: list[Branch]) -> list[Branch]:
    """Branches that differ in one answer alone and come to the same are one: the answer does not matter."""
    merged = True
    while merged:
        merged = False
        for one in range(len(branches)):
            for other in range(one + 1, len(branches)):
                joined = _joined(branches[one], branches[other])
                if joined is not None:
                    branches[one] = joined
                    del branches[other]
                    merged = True
                    break
            if merged:
                break
    return branches


def _joined(one: Branch, other: Branch) -> Branch | None:
    if one.distribution != other.distribution:
        return None
    first, second = dict(one.assumed), dict(other.assumed)
    differing = [words for words in first if words in second and first[words] != second[words]]
    rest = {words: answer for words, answer in first.items() if words not in differing}
    if len(differing) != 1 or rest != {words: answer for words, answer in second.items() if words not in differing}:
        return None
    return Branch(tuple(rest.items()), one.shares)
