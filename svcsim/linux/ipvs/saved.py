"""Virtual services as `ipvsadm -Sn` prints them, of any host: values, without a table that schedules.

    -A -t 10.96.0.1:443 -s rr
    -a -t 10.96.0.1:443 -r 10.0.0.1:6443 -m -w 1

Source: ipvsadm(8); ipvsadm 1.31, ipvsadm.c (`print_service_entry`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from svcsim.linux.address import parse_endpoint
from svcsim.linux.packet import SCTP, TCP, UDP

_SERVICES = {
    "-t": TCP, "--tcp-service": TCP, "-u": UDP, "--udp-service": UDP, "--sctp-service": SCTP, "-f": 0, "--fwmark-service": 0,
}
_FORWARDING = {
    "-m": "masquerade", "--masquerading": "masquerade", "-g": "route", "--gatewaying": "route", "-i": "tunnel",
    "--ipip": "tunnel",
}
_FLAGS = {"-o", "--ops", "-6"}
_LONG = {"--scheduler": "-s", "--persistent": "-p", "--real-server": "-r", "--weight": "-w"}


@dataclass(frozen=True, slots=True)
class SavedServer:
    """A real server: address, port, weight, and how packets are sent to it (`masquerade`, `route`, `tunnel`)."""

    address: int
    port: int
    weight: int = 1
    forwarding: str = "route"


@dataclass(slots=True)
class SavedService:
    """A virtual service; of a firewall mark if that is not 0."""

    protocol: int
    address: int
    port: int
    fwmark: int = 0
    scheduler: str = "wlc"
    persistent: bool = False
    servers: list[SavedServer] = field(default_factory=list)


Key = tuple[int, int, int, int]


class ServicesReader:
    """Takes the lines of `ipvsadm -Sn` one by one."""

    def __init__(self) -> None:
        self.services: dict[Key, SavedService] = {}

    def line(self, line: str) -> None:
        """One line; ValueError if it is none of such a text."""
        words = line.split()
        if not words or line.startswith("#"):
            return
        options = _options(words[1:])
        key = _key(options)
        if words[0] in ("-A", "--add-service"):
            self.services[key] = SavedService(
                key[1], key[2], key[3], key[0], options.get("-s", "wlc"), "-p" in options
            )
        elif words[0] in ("-a", "--add-server"):
            service = self.services.get(key)
            if service is None:
                raise ValueError(f"a server of a service that has not been added before: {line}")
            if "-r" not in options:
                raise ValueError(f"a server has an address, as -r 10.0.0.1:80: {line}")
            forwarding = next((way for option, way in _FORWARDING.items() if option in options), "route")
            address, port = _endpoint(options["-r"])
            service.servers.append(SavedServer(address, port, _weight(options.get("-w", "1")), forwarding))
        else:
            raise ValueError(f"not a line of ipvsadm -Sn: {line}")


def _key(options: dict[str, str]) -> Key:
    """Firewall mark, protocol, address and port."""
    for option, protocol in _SERVICES.items():
        if option in options:
            if not protocol:
                return _weight(options[option]), 0, 0, 0
            return (0, protocol, *_endpoint(options[option]))
    raise ValueError("no service is named, as by -t 10.96.0.1:443")


def _endpoint(text: str) -> tuple[int, int]:
    address, port = parse_endpoint(text)
    if not 0 <= port <= 65535:
        raise ValueError(f"{text!r} has no port")
    return address, port


def _weight(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _options(words: list[str]) -> dict[str, str]:
    """Options and their arguments, empty for those without."""
    options: dict[str, str] = {}
    at = 0
    while at < len(words):
        word = _LONG.get(words[at], words[at])
        if not word.startswith("-"):
            raise ValueError(f"{word!r} is no option of ipvsadm")
        has_value = word not in _FORWARDING and word not in _FLAGS and at + 1 < len(words) and not words[at + 1].startswith("-")
        options[word] = words[at + 1] if has_value else ""
        at += 1 + has_value
    return options


def parse(text: str) -> list[SavedService]:
    """The services of an `ipvsadm -Sn` text; ValueError with the bad line."""
    reader = ServicesReader()
    for line in text.splitlines():
        reader.line(line.strip())
    return list(reader.services.values())
