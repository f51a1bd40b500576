"""Chains compiled for one destination: what is left of them once address, protocol and port are known.

A verdict map leads each destination to chains of its own, and there everything but the source address, the random number and the
dynamic sets is known beforehand. The rest is a row of steps that tells the number of rules examined along with the outcome, so
that following it gives what `walk` gives. Chains are immutable, so a compiled one serves every node that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from svcsim.linux.address import Prefix
from svcsim.linux.nftables.ruleset import (
    AddressMatch,
    Chain,
    DnatStatement,
    Expression,
    LocalMatch,
    MarkStatement,
    PortMatch,
    ProtocolMatch,
    RandomVerdict,
    SetDeclaration,
    SetMatch,
    UpdateStatement,
    Verdict,
)

ALWAYS, SOURCE_IN_PREFIX, SOURCE_IN_PREFIXES, SOURCE_LOCAL, SOURCE_IN_SET, DESTINATION_IN_PREFIXES = range(6)
"""Tests of a step. Operands: (shift, value); tuple of these; nothing; name of a dynamic set; tuple of (shift, value)."""

MARK, GOTO, RANDOM, DNAT, UPDATE, DROP, REJECT = range(7)
"""Actions of a step. Arguments: rules of the marking chain; Residue; tuple of Residues; (address, port); (name of the set, its
time-out in ns)."""

CompiledStep: TypeAlias = tuple[int, int, Any, bool, int, Any]
"""Rules examined by now since the step before, test, operand, wanted result, action, argument."""


@dataclass(slots=True, eq=False)
class Residue:
    """Steps, and the number of rules examined after the last one when no step ended the chain.

    `choices` is among how many endpoints the chain chooses, 0 if it doesn't or there is one alone.
    """

    steps: tuple[CompiledStep, ...]
    tail: int
    choices: int = 0


@dataclass(slots=True)
class Specialiser:
    """Compiles chains for one destination; `address` None: any address, as behind a node port."""

    chains: Mapping[str, Chain]
    sets: Mapping[str, SetDeclaration]
    address: int | None
    protocol: int
    port: int

    def chain(self, name: str, start: int = 0) -> Residue:
        """What is left of a chain from its rule number `start` on."""
        steps: list[CompiledStep] = []
        examined = 0
        rules = self.chains[name].rules
        for index in range(start, len(rules)):
            examined += 1
            dynamic: list[Expression] = []
            action: Expression | None = None
            known: bool | None = None
            for expression in rules[index].expressions:
                if isinstance(expression, (Verdict, RandomVerdict, DnatStatement, UpdateStatement)):
                    action = expression
                    break
                known = self.known(expression)
                if known is None:
                    dynamic.append(expression)
                elif not known:
                    break
            if action is None:
                if known is not False:
                    raise TypeError(f"{rules[index]} cannot be compiled behind a verdict map")
                continue
            for test in dynamic[:-1]:
                code, operand, wanted = self.test(test)
                steps.append((examined, code, operand, not wanted, GOTO, self.chain(name, index + 1)))
                examined = 0
            code, operand, wanted = self.test(dynamic[-1]) if dynamic else (ALWAYS, None, True)
            kind, argument = self.action(action)
            steps.append((examined, code, operand, wanted, kind, argument))
            examined = 0
            if code == ALWAYS and kind in (GOTO, RANDOM, DNAT, DROP, REJECT):
                break
        return Residue(tuple(steps), examined, self.chains[name].choices)

    def known(self, expression: Expression) -> bool | None:
        """Whether a match holds; None where that depends on the packet's source or the time."""
        match expression:
            case AddressMatch(field="daddr", prefixes=prefixes, negated=negated):
                if self.address is None:
                    return None
                return any(self.address in prefix for prefix in prefixes) is not negated
            case ProtocolMatch(protocol=protocol):
                return protocol == self.protocol
            case PortMatch(protocol=protocol, port=port):
                return (protocol, port) == (self.protocol, self.port)
        return None

    def test(self, expression: Expression) -> tuple[int, object, bool]:
        """Test, operand and wanted result of a match that is not known beforehand."""
        match expression:
            case AddressMatch(field="saddr", prefixes=prefixes, negated=negated):
                compared = tuple(map(prefix_compare, prefixes))
                if len(compared) == 1:
                    return SOURCE_IN_PREFIX, compared[0], not negated
                return SOURCE_IN_PREFIXES, compared, not negated
            case AddressMatch(field="daddr", prefixes=prefixes, negated=negated):
                return DESTINATION_IN_PREFIXES, tuple(map(prefix_compare, prefixes)), not negated
            case LocalMatch(field="saddr"):
                return SOURCE_LOCAL, None, True
            case SetMatch(field="saddr", set_name=set_name):
                return SOURCE_IN_SET, set_name, True
        raise TypeError(f"{expression!r} cannot be compiled behind a verdict map")

    def action(self, expression: Expression) -> tuple[int, object]:
        """Action and argument of a verdict or statement."""
        match expression:
            case Verdict(kind="drop"):
                return DROP, None
            case Verdict(kind="reject"):
                return REJECT, None
            case Verdict(kind="goto", chain=name):
                return GOTO, self.chain(name)
            case Verdict(kind="jump", chain=name) if self.only_marks(name):
                return MARK, len(self.chains[name].rules)
            case RandomVerdict(verdicts=verdicts):
                return RANDOM, tuple(self.chain(verdict.chain) for verdict in verdicts)
            case DnatStatement(address=address, port=port):
                return DNAT, (address, port)
            case UpdateStatement(set_name=set_name):
                return UPDATE, (set_name, (self.sets[set_name].timeout_s or 0) * 1_000_000_000)
        raise TypeError(f"{expression!r} cannot be compiled behind a verdict map")

    def only_marks(self, name: str) -> bool:
        """Whether a chain does nothing but set the mark for masquerading."""
        rules = self.chains[name].rules
        return all(isinstance(expression, MarkStatement) for rule in rules for expression in rule.expressions)


def prefix_compare(prefix: Prefix) -> tuple[int, int]:
    """(shift, value): an address is in the prefix if it equals the value once shifted."""
    shift = prefix.bits - prefix.length
    return shift, prefix.base >> shift
