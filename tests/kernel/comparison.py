"""What svcsim says of a flow, as the outcomes that `Traffic` reports, and the two held against each other.

The kernel's own draw is not known. So each observed outcome must be one that svcsim has for some draw, every one of those must be
observed, and where a flow leaves a state behind (session affinity) svcsim goes on with a draw that gives what was observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import chi2

from svcsim.linux.address import format_address
from svcsim.linux.packet import Decision, Verdict
from tests.kernel.network import Plan
from tests.kernel.programmed import Programmed, ReadBack
from tests.kernel.traffic import BRIEFLY_S, PATIENCE_S, REFUSED, SILENCE, Flow, Traffic, reached

DRAWS = 32
FINE_DRAWS = 20_000
TRIES = 12
MOST_TRIES = 240
"""One of eight equally likely outcomes is missed by so many tries once in 10^13."""
SIGNIFICANCE = 1e-6
"""Below this a distribution is another one: generous, so that a run in a million fails by chance."""


def outcome(decision: Decision, flow: Flow, plan: Plan) -> str:
    """What the client of such a flow will be told."""
    if decision.verdict in (Verdict.DNAT, Verdict.NO_MATCH):
        client = plan.node if decision.masquerade else flow.source
        return reached(format_address(decision.destination), decision.destination_port, client)
    return REFUSED if decision.verdict is Verdict.REJECT else SILENCE


@dataclass
class Bench:
    """A node that is programmed in svcsim and in the kernel, and traffic through the latter."""

    plan: Plan
    programmed: Programmed
    traffic: Traffic
    read_back: ReadBack | None = None

    def expected(self, flow: Flow, now_ns: int = 0, draws: int = DRAWS) -> dict[str, float]:
        """The outcomes that svcsim has for a flow, each with a draw that gives it.

        AssertionError where the compiled table, the walk of the rules and (if there is one) the walk of what the kernel's tool
        printed differ.
        """
        packet, table = flow.packet(), self.programmed.table
        found: dict[str, float] = {}
        for draw in range(draws):
            uniform = (draw + 0.5) / draws
            with self.programmed.tentatively():
                decision = table.decide(packet, uniform, now_ns)
            told = outcome(decision, flow, self.plan)
            if told in found:
                continue
            found[told] = uniform
            with self.programmed.tentatively():
                walked, _ = table.walk(packet, uniform, now_ns)
            assert walked == decision, f"{flow}: table {decision}, walk {walked}"
            if self.read_back is not None:
                with self.programmed.tentatively():
                    read = self.read_back.decide(packet, uniform, now_ns)
                assert read == decision, f"{flow}: {decision}, by the rules that the kernel holds {read}"
        return found

    def probabilities(self, flow: Flow, draws: int = FINE_DRAWS) -> dict[str, float]:
        """The outcomes with their probabilities, of a flow that leaves no state behind."""
        packet, table = flow.packet(), self.programmed.table
        counts: dict[str, int] = {}
        for draw in range(draws):
            told = outcome(table.decide(packet, (draw + 0.5) / draws, 0), flow, self.plan)
            counts[told] = counts.get(told, 0) + 1
        return {told: count / draws for told, count in counts.items()}

    def differences(self, flows: Sequence[Flow], tries: int = TRIES) -> list[str]:
        """Where the kernel does what svcsim does not, or does not what svcsim does. For flows that leave no state behind."""
        wanted = {flow: set(self.expected(flow)) for flow in flows}
        seen: dict[Flow, set[str]] = {flow: set() for flow in flows}
        silent = [flow for flow, outcomes in wanted.items() if outcomes == {SILENCE}]
        loud = [flow for flow, outcomes in wanted.items() if outcomes != {SILENCE}]
        self._watch(silent, seen, BRIEFLY_S)
        self._watch([flow for flow in loud for _ in range(1 if len(wanted[flow]) == 1 else tries)], seen)
        for _ in range(MOST_TRIES // tries):
            rest = [flow for flow in loud if seen[flow] < wanted[flow]]
            self._watch([flow for flow in rest for _ in range(tries)], seen)
        return [
            f"{flow}: the kernel {sorted(seen[flow])}, svcsim {sorted(wanted[flow])}"
            for flow in flows
            if seen[flow] != wanted[flow]
        ]

    def _watch(self, flows: list[Flow], seen: dict[Flow, set[str]], patience_s: float | None = None) -> None:
        outcomes = self.traffic.send(flows) if patience_s is None else self.traffic.send(flows, patience_s)
        for flow, told in zip(flows, outcomes, strict=True):
            seen[flow].add(told)

    def follow(self, flow: Flow, now_ns: int = 0, draws: int = DRAWS) -> tuple[str, int]:
        """Send one flow, and let svcsim take the draw that the kernel took: its outcome, and how many it could have had.

        AssertionError if it could not have this one.
        """
        wanted = self.expected(flow, now_ns, draws)
        [told] = self.traffic.send([flow], BRIEFLY_S if set(wanted) == {SILENCE} else PATIENCE_S)
        assert told in wanted, f"{flow}: the kernel {told}, svcsim {sorted(wanted)}"
        self.programmed.table.decide(flow.packet(), wanted[told], now_ns)
        return told, len(wanted)


def chance(counts: dict[str, int], probabilities: dict[str, float]) -> float:
    """The probability of counts that differ so much from what they should be (Pearson's chi-square), 0 for the impossible."""
    if not counts.keys() <= probabilities.keys():
        return 0.0
    total = sum(counts.values())
    statistic = sum((counts.get(told, 0) - total * p) ** 2 / (total * p) for told, p in probabilities.items())
    return float(chi2.sf(statistic, len(probabilities) - 1))
