"""The input of `nft -f`: one `add` line for each table, set, map, chain, rule and element, as kube-proxy's library writes them.

`parse(render(ruleset)) == ruleset`. Order: the table, sets and maps, chains, rules by chain, elements by set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from svcsim.linux.nftables.rule_text import (
    RuleTextError,
    key_text,
    key_types,
    parse_key,
    parse_rule,
    rule_text,
    type_text,
    verdict_text,
)
from svcsim.linux.nftables.ruleset import (
    BaseHook,
    Chain,
    ChainType,
    Element,
    Family,
    HookName,
    Rule,
    Ruleset,
    SetDeclaration,
    Verdict,
)

_COMMENT = re.compile(r'comment "([^"]*)"')
_HOOK = re.compile(r"type (filter|nat) hook (\w+) priority (-?\d+)")
_BLOCK = re.compile(r"\{\s*(.*?)\s*\}\s*$")


def render(ruleset: Ruleset) -> str:
    """The text that `nft -f` takes to make the table as it is."""
    return "\n".join(lines(ruleset)) + "\n"


def lines(ruleset: Ruleset) -> Iterator[str]:
    """The lines of `render`."""
    where = f"{ruleset.family} {ruleset.table}"
    yield f"add table {where}" + (f' {{ comment "{ruleset.comment}" ; }}' if ruleset.comment else "")
    for declaration in ruleset.sets.values():
        yield set_line(declaration, where)
    for chain in ruleset.chains.values():
        yield chain_line(chain, where)
    for chain in ruleset.chains.values():
        for rule in chain.rules:
            yield f"add rule {where} {chain.name} {rule_text(rule, ruleset.family)}"
    for elements in ruleset.elements.values():
        for element in elements.values():
            yield element_line(element, ruleset.sets[element.set_name], where)


def set_line(declaration: SetDeclaration, where: str) -> str:
    """`add set ip kube-proxy …`; `where` is family and table."""
    parts = [f"type {type_text(declaration)}"]
    if declaration.dynamic:
        parts.append("flags dynamic,timeout" if declaration.timeout_s is not None else "flags dynamic")
    if declaration.timeout_s is not None:
        parts.append(f"timeout {declaration.timeout_s}s")
    if declaration.comment:
        parts.append(f'comment "{declaration.comment}"')
    return f"add {'map' if declaration.is_map else 'set'} {where} {declaration.name} {{ {' ; '.join(parts)} ; }}"


def chain_line(chain: Chain, where: str) -> str:
    """`add chain ip kube-proxy …`."""
    parts = []
    if chain.base is not None:
        parts.append(f"type {chain.base.chain_type} hook {chain.base.hook} priority {chain.base.priority}")
    if chain.comment:
        parts.append(f'comment "{chain.comment}"')
    return f"add chain {where} {chain.name}" + (f" {{ {' ; '.join(parts)} ; }}" if parts else "")


def element_line(element: Element, declaration: SetDeclaration, where: str, command: str = "add") -> str:
    """`add element ip kube-proxy name { key comment "…" : verdict }`."""
    text = key_text(element.key, declaration.key_types)
    if element.comment:
        text += f' comment "{element.comment}"'
    if element.verdict is not None:
        text += f" : {verdict_text(element.verdict)}"
    return f"{command} element {where} {element.set_name} {{ {text} }}"


def parse(text: str) -> Ruleset:
    """The table that the `add` lines make; RuleTextError for anything else than kube-proxy writes."""
    ruleset: Ruleset | None = None
    rules: dict[str, list[Rule]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        words = line.split(" ", 5)
        if len(words) < 4 or words[0] != "add" or words[2] not in ("ip", "ip6"):
            raise RuleTextError(f"line {number} is no `add` line of a table: {line}")
        kind, family, table = words[1], cast(Family, words[2]), words[3]
        if ruleset is None:
            ruleset = Ruleset(family, table)
        elif (family, table) != (ruleset.family, ruleset.table):
            raise RuleTextError(f"line {number} belongs to another table: {line}")
        if kind == "table":
            ruleset.comment = _comment(line)
            continue
        name, rest = words[4], words[5] if len(words) > 5 else ""
        if kind in ("set", "map"):
            ruleset.sets[name] = parse_set(name, rest)
        elif kind == "chain":
            ruleset.chains[name] = Chain(name, (), _hook(rest), _comment(rest))
            rules.setdefault(name, [])
        elif kind == "rule":
            rules[name].append(parse_rule(rest))
        elif kind == "element":
            ruleset.add_element(parse_element(_inside(rest), ruleset.sets[name]))
        else:
            raise RuleTextError(f"line {number}: unknown object {kind!r}")
    if ruleset is None:
        raise RuleTextError("there is no table")
    for name, chain in ruleset.chains.items():
        ruleset.chains[name] = Chain(name, tuple(rules[name]), chain.base, chain.comment)
    return ruleset


def _comment(text: str) -> str:
    found = _COMMENT.search(text)
    return found[1] if found else ""


def _inside(text: str) -> str:
    found = _BLOCK.search(text)
    if not found:
        raise RuleTextError(f"braces are missing: {text}")
    return found[1]


def _hook(text: str) -> BaseHook | None:
    found = _HOOK.search(text)
    return BaseHook(cast(ChainType, found[1]), cast(HookName, found[2]), int(found[3])) if found else None


def parse_set(name: str, rest: str) -> SetDeclaration:
    """A set or map from what stands after its name."""
    statements = [part.strip() for part in _inside(rest).split(";")]
    values = dict(statement.split(" ", 1) for statement in statements if statement)
    types, is_map = key_types(values["type"])
    timeout = values.get("timeout")
    return SetDeclaration(
        name,
        types,
        is_map,
        "dynamic" in values.get("flags", ""),
        int(timeout.removesuffix("s")) if timeout else None,
        values.get("comment", "").strip('"'),
    )


def parse_element(text: str, declaration: SetDeclaration) -> Element:
    """An element from what stands between its braces."""
    comment = _comment(text)
    if comment:
        text = text.replace(f'comment "{comment}"', "", 1)
    key, _, verdict = text.partition(" : ") if declaration.is_map else (text, "", "")
    return Element(
        declaration.name,
        parse_key(key.strip(), declaration.key_types),
        parse_verdict(verdict.strip()) if declaration.is_map else None,
        comment,
    )


def parse_verdict(text: str) -> Verdict:
    """`goto chain`, `drop`."""
    rule = parse_rule(text)
    if len(rule.expressions) != 1 or not isinstance(rule.expressions[0], Verdict):
        raise RuleTextError(f"{text!r} is no verdict")
    return rule.expressions[0]
