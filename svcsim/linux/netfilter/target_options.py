"""What stands after `-j` in a rule of iptables: targets with their options, and those that svcsim doesn't know.

Source: iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from svcsim.linux.netfilter.rule_words import ALL_BITS, Words, address_and_port, number, port_number, value_and_mask
from svcsim.linux.netfilter.rules import (
    Accept,
    Dnat,
    Drop,
    Jump,
    Masquerade,
    NoVerdict,
    Redirect,
    Reject,
    Return,
    SetConnectionMark,
    SetMark,
    Snat,
    Target,
    UnknownTarget,
)

NO_VERDICT = frozenset({
    "AUDIT", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "DSCP", "ECN", "HL", "IDLETIMER", "LED", "LOG", "NFLOG", "RATEEST", "SECMARK",
    "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE", "TTL", "ULOG",
})
"""Extension targets after which a packet goes on, with its addresses and mark as they were (iptables-extensions(8))."""

EXTENSIONS = frozenset({
    "CLUSTERIP", "CT", "DNPT", "HMARK", "MIRROR", "NETMAP", "NFQUEUE", "NOTRACK", "QUEUE", "SAME", "SNPT", "SYNPROXY", "TPROXY",
})
"""Extension targets that svcsim doesn't know: they may change what becomes of the packet."""

_DEFAULT_REJECTS = ("icmp-port-unreachable", "icmp6-port-unreachable", "port-unreach")
_TERMINAL: Mapping[str, Target] = {"ACCEPT": Accept(), "DROP": Drop(), "RETURN": Return()}


def _mark_target(words: Words) -> Target:
    option = words.take()
    value, mask = value_and_mask(words.take())
    if option == "--or-mark":
        return SetMark("or", value)
    if option == "--xor-mark":
        return SetMark("xor", value)
    if option == "--and-mark":
        return SetMark("set", 0, ~value & ALL_BITS)
    if option == "--set-mark":
        return SetMark("set", value, mask | value)
    if option != "--set-xmark":
        raise ValueError("an option of MARK")
    if mask == value:
        return SetMark("or", value)
    if mask == 0:
        return SetMark("xor", value)
    return SetMark("set", value, mask)


def _connection_mark_target(words: Words) -> Target:
    option = words.take()
    if option in ("--set-xmark", "--set-mark"):
        value, mask = value_and_mask(words.take())
        return SetConnectionMark("set", value, mask if option == "--set-xmark" else mask | value)
    if option not in ("--save-mark", "--restore-mark"):
        raise ValueError("an option of CONNMARK")
    masks = {"--nfmask": ALL_BITS, "--ctmask": ALL_BITS}
    while words.more():
        name = words.take()
        if name == "--mask":
            masks = dict.fromkeys(masks, number(words.take()))
        elif name in masks:
            masks[name] = number(words.take())
        else:
            raise ValueError("an option of CONNMARK")
    return SetConnectionMark(option[2:].removesuffix("-mark"), 0, masks["--ctmask"], masks["--nfmask"])


def _masquerade(words: Words) -> Target:
    fully, options = False, []
    while words.more():
        word = words.take()
        if word == "--random-fully":
            fully = True
        elif word == "--random":
            options.append(word)
        elif word == "--to-ports":
            options += [word, words.take()]
        else:
            raise ValueError("an option of MASQUERADE")
    return Masquerade(fully, " ".join(options))


def _translation(words: Words, option: str, make: Callable[[int, int], Target]) -> Target:
    if words.take() != option:
        raise ValueError(f"no {option}")
    target = make(*address_and_port(words.take()))
    while words.peek() in ("--random", "--persistent", "--random-fully"):
        words.take()
    return target


def _redirect(words: Words) -> Target:
    return Redirect(port_number(words.take())) if words.skip("--to-ports") else Redirect(0)


def _reject(words: Words) -> Target:
    kind = words.take() if words.skip("--reject-with") else ""
    return Reject("" if kind in _DEFAULT_REJECTS else kind)


_TARGETS: Mapping[str, Callable[[Words], Target]] = {
    "REJECT": _reject,
    "MARK": _mark_target,
    "CONNMARK": _connection_mark_target,
    "DNAT": lambda words: _translation(words, "--to-destination", Dnat),  # type: ignore[arg-type]
    "SNAT": lambda words: _translation(words, "--to-source", Snat),  # type: ignore[arg-type]
    "REDIRECT": _redirect,
    "MASQUERADE": _masquerade,
}


def read_target(words: Words) -> Target:
    """What stands after `-j`, up to the end of the rule."""
    start = words.at
    name = words.take()
    if name in _TERMINAL:
        return _TERMINAL[name]
    try:
        target: Target = _TARGETS[name](words) if name in _TARGETS else Jump(name)
    except ValueError:
        target = UnknownTarget("")
    whole = words.between(start, len(words.words))
    if name in NO_VERDICT:
        target = NoVerdict(whole)
    elif words.more() or name in EXTENSIONS or isinstance(target, UnknownTarget):
        target = UnknownTarget(whole)
    words.at = len(words.words)
    return target
