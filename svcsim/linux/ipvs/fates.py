"""What IPVS answers: the fate of a packet, and the refusal of a command."""

from __future__ import annotations

from enum import Enum, IntEnum


class Dropped(Enum):
    """The answer of `IpvsTable.connect` when the packet vanishes without a word; the client sends it again."""

    SILENTLY = "silently"


class PacketFate(IntEnum):
    """What IPVS does with a packet of an existing flow. GONE: there is no entry; TCP gets a RST, UDP starts anew."""

    GONE = 0
    DROPPED = 1
    FORWARDED = 2


class IpvsError(Exception):
    """A command that the kernel refuses: the service or server exists already, or does not exist."""
