"""The words of a rule of iptables, and the numbers, ports and addresses among them.

Source: iptables 1.8 libxtables/xtables.c (`xtables_save_string`, `xtables_parse_val_mask`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from svcsim.linux.address import parse_address, parse_endpoint

ALL_BITS = 0xFFFFFFFF
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word with the quotes taken off, and where it stood."""

    text: str
    start: int
    end: int
    quoted: bool


class Words:
    """The words of a rule, taken one by one. Taking one that is not there raises ValueError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = [
            Word(
                found[2] if found[2] is not None else _ESCAPED.sub(r"\1", found[1]), found.start(), found.end(), found[2] is None
            )
            for found in _WORD.finditer(text)
        ]
        self.at = 0

    def more(self) -> bool:
        """Whether a word is left."""
        return self.at < len(self.words)

    def peek(self, ahead: int = 0) -> str:
        """The next word, or one further on; empty if there is none, or if it is quoted."""
        place = self.at + ahead
        return self.words[place].text if place < len(self.words) and not self.words[place].quoted else ""

    def take(self) -> str:
        """The next word."""
        if not self.more():
            raise ValueError(f"the rule ends early: {self.text}")
        self.at += 1
        return self.words[self.at - 1].text

    def skip(self, word: str) -> bool:
        """Take the next word if it is this one."""
        if self.peek() == word:
            self.at += 1
            return True
        return False

    def between(self, first: int, after: int) -> str:
        """The text from one word up to another (not included)."""
        return self.text[self.words[first].start : self.words[after - 1].end] if after > first else ""

    def to_next_option(self) -> None:
        """Pass over words up to the next option, or the `!` before it."""
        while self.more():
            word = self.peek()
            if word.startswith("-") or (word == "!" and self.peek(1).startswith("-")):
                return
            self.at += 1

    def to_next_match(self) -> None:
        """Pass over words up to the next `-m`, `-j` or `-g`."""
        while self.more() and self.peek() not in ("-m", "-j", "-g"):
            self.at += 1


def number(text: str) -> int:
    """`0x4000`, `16384`; ValueError for what is none."""
    if not text.isascii():
        raise ValueError(f"{text!r} is no number")
    return int(text, 0)


def value_and_mask(text: str) -> tuple[int, int]:
    """`0x4000/0x4000`; without a mask all bits count."""
    value, _, mask = text.partition("/")
    return number(value), number(mask) if mask else ALL_BITS


def port_number(text: str) -> int:
    """A port; ValueError beyond 65535."""
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise ValueError(f"{text!r} is no port")
    return port


def port_range(text: str) -> tuple[int, int]:
    """First and last port of `80`, `80:90`, `:90` or `80:`."""
    low, colon, high = text.partition(":")
    first = port_number(low or "0")
    return first, (port_number(high or "65535") if colon else first)


def _to(text: str) -> tuple[int, int]:
    """The address and port (0: none) of a translation; ValueError for ranges."""
    try:
        return parse_address(text), 0
    except ValueError:
        return parse_endpoint(text)


def address_and_port(text: str) -> tuple[int, int]:
    """An address and its port, 0 if none is written; ValueError for what is neither."""
    address, port = _to(text)
    if not 0 <= port <= 65535:
        raise ValueError(f"{text!r} is no address and port")
    return address, port
