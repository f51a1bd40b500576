"""IP sets as `ipset save` prints them and `ipset restore` takes them.

    create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
    add KUBE-CLUSTER-IP 10.96.0.1,tcp:443

Elements of hash sets of addresses, ports and networks and of port bitmaps are understood, which are those that kube-proxy uses;
others are kept as written. Source: ipset(8); ipset 7.17 lib/print.c, src/ipset.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from svcsim.linux.address import Prefix, format_address, parse_address
from svcsim.linux.netfilter.text import protocol_text
from svcsim.linux.protocols import protocol_number

BITMAP_OPTIONS = "range 0-65535"
HASH_OPTIONS = "family {family} hashsize 1024 maxelem 65536"
"""What kube-proxy creates its sets with (pkg/proxy/ipvs/util/ipset.go, `setIPSetDefaults`)."""

Field = Prefix | int | tuple[int, int]
"""A field of an element: a block of addresses, a bare port, or protocol and port."""


@dataclass(frozen=True, slots=True)
class SetElement:
    """One element: its fields as far as they are understood (else none), and its text as written."""

    text: str
    fields: tuple[Field, ...] = field(default=(), compare=False)
    no_match: bool = False


@dataclass(slots=True)
class IpSet:
    """One set: name, type (`hash:ip,port`), the options of its creation, and its elements in the order of the text."""

    name: str
    type: str
    options: str = ""
    elements: list[SetElement] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fields: `ip`, `port`, `net`."""
        return tuple(self.type.partition(":")[2].split(","))

    @property
    def understood(self) -> bool:
        """Whether look-ups in it can be answered."""
        method = self.type.partition(":")[0]
        known = method in ("hash", "bitmap") and all(kind in ("ip", "port", "net") for kind in self.kinds)
        return known and all(element.fields for element in self.elements)

    def holds(self, fields: tuple[int | tuple[int, int], ...]) -> bool:
        """Whether an element matches a packet's fields, each an address or (protocol, port); of nets the narrowest decides."""
        found = [element for element in self.elements if _matches(element.fields, fields)]
        if not found:
            return False
        return not max(found, key=_narrowness).no_match


def _matches(element: tuple[Field, ...], packet: tuple[int | tuple[int, int], ...]) -> bool:
    if len(element) > len(packet):
        return False
    for own, other in zip(element, packet, strict=False):
        if isinstance(own, Prefix):
            if not isinstance(other, int) or other not in own:
                return False
        elif isinstance(own, tuple):
            if own != other:
                return False
        elif not isinstance(other, tuple) or own != other[1]:
            return False
    return True


def _narrowness(element: SetElement) -> int:
    return sum(each.length for each in element.fields if isinstance(each, Prefix))


def parse_element(set_type: str, text: str) -> SetElement:
    """An element of a set of that type, with its options; one that is not understood has no fields."""
    words = text.split()
    value = words[0] if words else ""
    method, _, kinds = set_type.partition(":")
    if method not in ("hash", "bitmap"):
        return SetElement(text)
    parts, fields = value.split(","), list[Field]()
    names = kinds.split(",")
    if len(parts) != len(names):
        return SetElement(text)
    try:
        for kind, part in zip(names, parts, strict=True):
            fields.append(_field(method, kind, part))
    except ValueError:
        return SetElement(text)
    return SetElement(text, tuple(fields), "nomatch" in words[1:])


def _field(method: str, kind: str, text: str) -> Field:
    if kind == "net":
        return Prefix.parse(text)
    if kind == "ip":
        return Prefix.parse(format_address(parse_address(text)))
    if kind != "port":
        raise ValueError(f"a field of kind {kind}")
    protocol, colon, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    if not 0 <= number <= 65535 or (method == "bitmap" and colon):
        raise ValueError(f"{text!r} is no port")
    if method == "bitmap":
        return number
    return (protocol_number(protocol) if colon else 6, number)


def element_text(*fields: Field) -> str:
    """An element as `ipset save` prints it: `10.96.0.1,tcp:443`, `30080`."""
    return ",".join(_field_text(each) for each in fields)


def _field_text(value: Field) -> str:
    if isinstance(value, Prefix):
        return format_address(value.base) if value.length == value.bits else str(value)
    return f"{protocol_text(value[0])}:{value[1]}" if isinstance(value, tuple) else str(value)


def save(sets: list[IpSet]) -> str:
    """`ipset save`: each set's creation and then its elements."""
    lines: list[str] = []
    for each in sets:
        lines.append(f"create {each.name} {each.type} {each.options}".rstrip())
        lines += [f"add {each.name} {element.text}" for element in each.elements]
    return "".join(f"{line}\n" for line in lines)


class SetsReader:
    """Takes the lines of `ipset save` one by one."""

    def __init__(self) -> None:
        self.sets: dict[str, IpSet] = {}

    def line(self, line: str) -> None:
        """One line; ValueError if it is none of such a text."""
        words = line.split()
        if not words or line.startswith("#"):
            return
        if words[0] == "create" and len(words) >= 3:
            self.sets[words[1]] = IpSet(words[1], words[2], " ".join(words[3:]))
        elif words[0] == "add" and len(words) >= 3:
            known = self.sets.get(words[1])
            if known is None:
                raise ValueError(f"an element of set {words[1]}, which has not been created before: {line}")
            known.elements.append(parse_element(known.type, " ".join(words[2:])))
        else:
            raise ValueError(f"not a line of ipset save: {line}")


def parse(text: str) -> list[IpSet]:
    """The sets of an `ipset save` text; ValueError with the bad line."""
    reader = SetsReader()
    for line in text.splitlines():
        reader.line(line.strip())
    return list(reader.sets.values())
