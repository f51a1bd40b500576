"""Packet captures in pcapng: interfaces, names and packets with comments, nanosecond time stamps.

A file is one section, written front to back; an interface is described before its first packet, names may come at any place.
Source: IETF draft-ietf-opsawg-pcapng (block types, options); little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

LINKTYPE_ETHERNET = 1
_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LENGTH_UNKNOWN = -1
_END_OF_OPTIONS, _COMMENT = 0, 1
_USER_APPLICATION = 4
_INTERFACE_NAME, _INTERFACE_DESCRIPTION, _TIME_RESOLUTION = 2, 3, 9
_NANOSECONDS = 9
_NAME_V4, _NAME_V6, _NAME_END = 1, 2, 0


class PcapngWriter:
    """Writes one section to an open binary file; the same calls write the same bytes."""

    __slots__ = ("_file", "_interfaces", "packets")

    def __init__(self, file: BinaryIO, application: str, comment: str = "") -> None:
        self._file = file
        self._interfaces = 0
        self.packets = 0
        body = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, _LENGTH_UNKNOWN)
        options = [(_COMMENT, comment.encode())] if comment else []
        self._block(_SECTION, body + _options([*options, (_USER_APPLICATION, application.encode())]))

    def interface(self, name: str, description: str = "") -> int:
        """Describe an Ethernet interface; returns the number that its packets name."""
        options = [(_INTERFACE_NAME, name.encode())]
        if description:
            options.append((_INTERFACE_DESCRIPTION, description.encode()))
        options.append((_TIME_RESOLUTION, bytes([_NANOSECONDS])))
        self._block(_INTERFACE, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, 0) + _options(options))
        self._interfaces += 1
        return self._interfaces - 1

    def names(self, entries: Iterable[tuple[bytes, str]]) -> None:
        """Say what addresses are called, each as its 4 or 16 bytes; nothing for none."""
        records = []
        for address, name in entries:
            packed = address + name.encode() + b"\0"
            records.append(struct.pack("<HH", _NAME_V4 if len(address) == 4 else _NAME_V6, len(packed)) + _padded(packed))
        if records:
            self._block(_NAMES, b"".join(records) + struct.pack("<HH", _NAME_END, 0))

    def packet(self, interface: int, at_ns: int, frame: bytes, comment: str = "") -> None:
        """A packet on an interface, `at_ns` nanoseconds after the start of the run."""
        size = len(frame)
        body = struct.pack("<IIIII", interface, at_ns >> 32, at_ns & 0xFFFFFFFF, size, size) + _padded(frame)
        self._block(_PACKET, body + _options([(_COMMENT, comment.encode())]) if comment else body)
        self.packets += 1

    def _block(self, kind: int, body: bytes) -> None:
        size = len(body) + 12
        self._file.write(b"".join((struct.pack("<II", kind, size), body, struct.pack("<I", size))))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    parts = [struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options]
    return b"".join(parts) + struct.pack("<HH", _END_OF_OPTIONS, 0)
