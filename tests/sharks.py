"""Captures as tshark reads them: checksums verified, an interface at a time: a packet forwarded is no retransmission."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (apt-get install tshark)")
CHECKED = [
    word
    for preference in ("ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE")
    for word in ("-o", preference)
]
_INTERFACE, _PACKET, _NAME_OPTION = 1, 6, 2


def tshark(*arguments: str) -> str:
    """What tshark prints; a complaint of it is a failure."""
    done = subprocess.run(["tshark", "-n", *CHECKED, *arguments], capture_output=True, text=True, check=False, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("Running as user")]
    assert not complaints
    assert done.returncode == 0
    return done.stdout


def table(path: Path, *fields: str, where: str = "") -> list[list[str]]:
    """A row a packet with the values of these fields."""
    words = [word for field in fields for word in ("-e", field)]
    chosen = ["-Y", where] if where else []
    return [line.split("\t") for line in tshark("-r", str(path), *chosen, "-T", "fields", *words).splitlines()]


def complaints(path: Path, *, reassembled: bool = True) -> list[str]:
    """What tshark finds wrong: malformed packets, checksums, errors of its experts.

    It takes a segment that it sees on two interfaces for two; a file with both is not to be reassembled. By default it takes a
    segment that is sent again for one that overlaps, not if it puts segments in order first.
    """
    bad = " || ".join(f"{protocol}.checksum.status == 0" for protocol in ("ip", "tcp", "udp", "icmp", "icmpv6"))
    streams = f"tcp.desegment_tcp_streams:{str(reassembled).upper()}"
    in_order = "tcp.reassemble_out_of_order:TRUE"
    wrong = f"_ws.malformed || _ws.expert.severity == error || {bad}"
    return tshark("-r", str(path), "-o", streams, "-o", in_order, "-Y", wrong).splitlines()


def interfaces(path: Path) -> list[str]:
    """The interfaces that carry packets, in the order of their first."""
    names = _names(path)
    return list(dict.fromkeys(names[_number(block)] for kind, block in _blocks(path) if kind == _PACKET))


def alone(path: Path, interface: str) -> Path:
    """A capture of one interface of a capture, in which tshark finds nothing wrong."""
    names = _names(path)
    target = path.with_name(f"{path.stem}.{interface}.pcapng")
    target.write_bytes(
        b"".join(block for kind, block in _blocks(path) if kind != _PACKET or names[_number(block)] == interface)
    )
    assert complaints(target) == []
    return target


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    data, at = path.read_bytes(), 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        yield kind, data[at : at + size]
        at += size


def _number(packet: bytes) -> int:
    return int(struct.unpack_from("<I", packet, 8)[0])


def _names(path: Path) -> list[str]:
    """The names of the interfaces; a name is the first option of its block."""
    found = []
    for kind, block in _blocks(path):
        if kind == _INTERFACE:
            code, length = struct.unpack_from("<HH", block, 16)
            assert code == _NAME_OPTION
            found.append(block[20 : 20 + length].decode())
    return found
