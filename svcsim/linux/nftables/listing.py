"""What `nft list ruleset` prints of such a table, and a reader of it.

The kernel hands out the elements of a hash set in an order of its own; `render` keeps the order that the ruleset has. Source:
nftables src/rule.c (`table_print`, `set_print`, `chain_print`), src/expression.c (breaks between elements), src/datatype.c
(times), checked against nft 1.0.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from svcsim.linux.nftables.rule_text import RuleTextError, key_text, key_types, parse_rule, rule_text, type_text, verdict_text
from svcsim.linux.nftables.ruleset import (
    DYNAMIC_SET_SIZE,
    BaseHook,
    Chain,
    ChainType,
    Element,
    Family,
    HookName,
    Rule,
    Ruleset,
    SetDeclaration,
)
from svcsim.linux.nftables.text import parse_element

_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_ONLY_AT = {"dstnat": "prerouting", "srcnat": "postrouting"}
_NAMED_REACH = 10
_TIME_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_OPEN = re.compile(r"^(table|set|map|chain) (?:(ip6?) )?(\S+) \{$")
_HOOK = re.compile(r"^type (filter|nat) hook (\w+) priority ([^;]+);")
_QUOTED_OR_COMMA = re.compile(r'("[^"]*")|,')


def priority_text(priority: int, hook: HookName) -> str:
    """`dstnat - 10`: the nearest named priority that the hook has, or the number."""
    for name, value in _PRIORITIES.items():
        if abs(priority - value) <= _NAMED_REACH and _ONLY_AT.get(name, hook) == hook:
            offset = priority - value
            return name if offset == 0 else f"{name} {'+' if offset > 0 else '-'} {abs(offset)}"
    return str(priority)


def parse_priority(text: str) -> int:
    """The inverse of `priority_text`."""
    name, _, offset = text.partition(" ")
    value = _PRIORITIES[name] if name in _PRIORITIES else int(name)
    return value + (int(offset.replace(" ", "")) if offset else 0)


def time_text(seconds: int) -> str:
    """`3h`, `1h30m`."""
    text = ""
    for unit, size in _TIME_UNITS:
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_time(text: str) -> int:
    """The inverse of `time_text`, in seconds."""
    sizes = dict(_TIME_UNITS)
    return sum(int(count) * sizes[unit] for count, unit in re.findall(r"(\d+)([dhms])", text))


def render(ruleset: Ruleset) -> str:
    """The table as `nft list ruleset` shows it."""
    blocks = [_set_block(ruleset, declaration) for declaration in ruleset.sets.values()]
    blocks += [_chain_block(chain, ruleset.family) for chain in ruleset.chains.values()]
    head = f"table {ruleset.family} {ruleset.table} {{\n"
    if ruleset.comment:
        head += f'\tcomment "{ruleset.comment}"\n'
    return head + "\n\n".join(blocks) + "\n}\n"


def _set_block(ruleset: Ruleset, declaration: SetDeclaration) -> str:
    kind = "map" if declaration.is_map else "set"
    lines = [f"\t{kind} {declaration.name} {{", f"\t\ttype {type_text(declaration)}"]
    if declaration.dynamic:
        lines.append(f"\t\tsize {DYNAMIC_SET_SIZE}")
        lines.append("\t\tflags dynamic,timeout" if declaration.timeout_s is not None else "\t\tflags dynamic")
    if declaration.timeout_s is not None:
        lines.append(f"\t\ttimeout {time_text(declaration.timeout_s)}")
    if declaration.comment:
        lines.append(f'\t\tcomment "{declaration.comment}"')
    elements = ruleset.elements.get(declaration.name)
    if elements:
        lines.append(f"\t\telements = {{ {_elements_text(declaration, list(elements.values()))} }}")
    return "\n".join([*lines, "\t}"])


def _elements_text(declaration: SetDeclaration, elements: list[Element]) -> str:
    in_a_row = 2 if declaration.key_types == ("ipv4_addr",) else 1
    text = ""
    for index, element in enumerate(elements):
        if index:
            text += ", " if index % in_a_row else ",\n\t\t\t     "
        text += key_text(element.key, declaration.key_types)
        if element.comment:
            text += f' comment "{element.comment}"'
        if element.verdict is not None:
            text += f" : {verdict_text(element.verdict)}"
    return text


def _chain_block(chain: Chain, family: Family) -> str:
    lines = [f"\tchain {chain.name} {{"]
    if chain.comment:
        lines.append(f'\t\tcomment "{chain.comment}"')
    if chain.base is not None:
        base = chain.base
        priority = priority_text(base.priority, base.hook)
        lines.append(f"\t\ttype {base.chain_type} hook {base.hook} priority {priority}; policy {base.policy};")
    lines += [f"\t\t{rule_text(rule, family, 'listing')}" for rule in chain.rules]
    return "\n".join([*lines, "\t}"])


def parse(text: str) -> Ruleset:
    """The first table of the listing; live elements of dynamic sets are left out. RuleTextError if it is not as kube-proxy's."""
    lines = iter(text.splitlines())
    for line in lines:
        opened = _OPEN.match(line.strip())
        if opened and opened[1] == "table":
            return _table(Ruleset(cast(Family, opened[2]), opened[3]), lines)
    raise RuleTextError("there is no table")


def _table(ruleset: Ruleset, lines: Iterator[str]) -> Ruleset:
    for line in lines:
        line = line.strip()
        if line == "}":
            return ruleset
        opened = _OPEN.match(line)
        if opened and opened[1] == "chain":
            ruleset.chains[opened[3]] = _chain(opened[3], lines)
        elif opened:
            _set(ruleset, opened[3], lines)
        elif line.startswith("comment "):
            ruleset.comment = line.removeprefix("comment ").strip('"')
        elif line:
            raise RuleTextError(f"not understood: {line}")
    raise RuleTextError("the table has no end")


def _chain(name: str, lines: Iterator[str]) -> Chain:
    base, comment, rules = None, "", list[Rule]()
    for line in lines:
        line = line.strip()
        if line == "}":
            return Chain(name, tuple(rules), base, comment)
        if line.startswith("comment "):
            comment = line.removeprefix("comment ").strip('"')
        elif hooked := _HOOK.match(line):
            base = BaseHook(cast(ChainType, hooked[1]), cast(HookName, hooked[2]), parse_priority(hooked[3]))
        elif line:
            rules.append(parse_rule(line))
    raise RuleTextError(f"chain {name} has no end")


def _set(ruleset: Ruleset, name: str, lines: Iterator[str]) -> None:
    values: dict[str, str] = {}
    elements = ""
    for line in lines:
        line = line.strip()
        if line == "}":
            break
        if elements or line.startswith("elements = {"):
            elements += " " + line
        elif line:
            key, _, value = line.partition(" ")
            values[key] = value
    types, is_map = key_types(values["type"])
    timeout = parse_time(values["timeout"]) if "timeout" in values else None
    dynamic = "dynamic" in values.get("flags", "")
    declaration = SetDeclaration(name, types, is_map, dynamic, timeout, values.get("comment", "").strip('"'))
    ruleset.sets[name] = declaration
    if elements and not dynamic:
        inside = elements[elements.index("{") + 1 : elements.rindex("}")]
        for part in _split(inside):
            ruleset.add_element(parse_element(" ".join(part.split()), declaration))


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside quotes."""
    return _QUOTED_OR_COMMA.sub(lambda found: found[1] or "\0", text).split("\0")
