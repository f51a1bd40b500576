"""What the command line says of a node's dump: its files, the node's own addresses and interfaces, packets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svcsim.errors import UsageError

if TYPE_CHECKING:
    from svcsim.linux.dump import Dump
    from svcsim.linux.dump_walk import Host
    from svcsim.linux.packet import Packet


def read_files(files: Sequence[Path]) -> Dump:
    """The dump that files hold (`-`: standard input); UsageError where one can't be read, InputError for mistakes in them."""
    from svcsim.linux.dump import read

    if not files:
        raise UsageError("name the files that iptables-save, nft list ruleset, ipset save or ipvsadm -Sn have printed")
    texts = []
    for file in files:
        try:
            content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise UsageError(f"can't read {file}: {error.strerror or error}") from None
        texts.append((str(file), content))
    return read(texts)


def host_of(dump: Dump, local: Sequence[str], comes_by: str = "", leaves_by: str = "") -> Host:
    """The node, with the addresses that are given and those that the dump shows to be its own."""
    from svcsim.linux.address import parse_address
    from svcsim.linux.dump_walk import Host, own_addresses

    addresses = []
    for text in local:
        try:
            addresses.append(parse_address(text))
        except ValueError:
            raise UsageError(f"--local takes an address, as 192.168.0.10 (got {text[:60]!r})") from None
    return Host(frozenset(addresses), comes_by, leaves_by, own_addresses(dump))


def packet_of(text: str, host: Host) -> Packet:
    """The packet of a `--packet`; one from an address of the node is sent by a process there."""
    from svcsim.linux.dump_walk import hook_of
    from svcsim.linux.flow_text import parse_packet

    try:
        packet = parse_packet(text)
    except ValueError as error:
        raise UsageError(f"--packet: {error}") from None
    return packet._replace(hook=hook_of(packet.source, host))
