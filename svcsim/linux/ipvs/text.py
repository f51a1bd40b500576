"""IPVS as `ipvsadm` prints and reads it.

`format_table` is `ipvsadm -Ln`, `format_save` is `ipvsadm -Sn`, and `restore` makes a table of what the latter printed, as
`ipvsadm -R` does. `ipvsadm` sorts services and servers, so the order of the kernel's list does not show; a restored table has
its servers in the order of the text, the last line first.

Source: ipvsadm 1.31, ipvsadm.c (`print_service_entry`, `list_all`).
"""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.errors import UsageError
from svcsim.linux.address import format_address, format_endpoint, is_ipv6, parse_address, parse_endpoint
from svcsim.linux.ipvs.services import RealServer, VirtualService
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.packet import PROTOCOL_NAME, SCTP, TCP, UDP
from svcsim.units import S

_OPTION = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
_PROTOCOL = {option: protocol for protocol, option in _OPTION.items()}


def sorted_services(table: IpvsTable) -> list[VirtualService]:
    """The services in `ipvsadm`'s order: by firewall mark, family, protocol, address and port."""
    services = [*table.services.values(), *table.fwmark_services.values()]
    return sorted(services, key=lambda one: (one.fwmark, is_ipv6(one.address), one.protocol, one.address, one.port))


def sorted_servers(service: VirtualService) -> list[RealServer]:
    """The servers of a service by address and port."""
    return sorted(service.servers, key=lambda one: (one.address, one.port))


def format_table(table: IpvsTable, *, size: int = 4096) -> str:
    """`ipvsadm -Ln`; `size` is that of the kernel's connection hash table, which is printed."""
    lines = [
        f"IP Virtual Server version 1.2.1 (size={size})",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
    ]
    for service in sorted_services(table):
        if service.fwmark:
            name = f"FWM  {service.fwmark}"
        else:
            name = f"{PROTOCOL_NAME[service.protocol]:<4} {format_endpoint(service.address, service.port)}"
        line = f"{name} {service.scheduler_name}"
        if service.flags:
            line += f" ({','.join(service.flags)})"
        if service.persistence_ns:
            line += f" persistent {service.persistence_ns // S}" + _mask(service, " mask ")
        lines.append(line)
        for server in sorted_servers(service):
            endpoint = format_endpoint(server.address, server.port)
            lines.append(
                f"  -> {endpoint:<28} {'Masq':<7} {server.weight:<6} {server.active:<10} {server.inactive:<10}"
            )
    return "\n".join(lines) + "\n"


def _mask(service: VirtualService, option: str) -> str:
    """The granularity of persistence, if it isn't the single address."""
    if is_ipv6(service.address):
        return "" if service.prefix_length == 128 else f"{option}{service.prefix_length}"
    if service.prefix_length == 32:
        return ""
    return option + format_address((1 << 32) - (1 << 32 - service.prefix_length))


def _name(service: VirtualService) -> str:
    if service.fwmark:
        return f"-f {service.fwmark}"
    return f"{_OPTION[service.protocol]} {format_endpoint(service.address, service.port)}"


def format_save(table: IpvsTable) -> str:
    """`ipvsadm -Sn`: the commands that would make these services and servers."""
    lines = []
    for service in sorted_services(table):
        line = f"-A {_name(service)} -s {service.scheduler_name}"
        if service.persistence_ns:
            line += f" -p {service.persistence_ns // S}" + _mask(service, " -M ")
        if service.flags:
            line += f" -b {','.join(service.flags)}"
        lines.append(line)
        lines.extend(
            f"-a {_name(service)} -r {format_endpoint(server.address, server.port)} -m -w {server.weight}"
            for server in sorted_servers(service)
        )
    return "".join(f"{line}\n" for line in lines)


def restore(lines: Iterable[str], table: IpvsTable, now_ns: int) -> None:
    """`ipvsadm -R`: give the table the commands. Raises UsageError that names the line if one cannot be understood."""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words:
            try:
                _command(words, table, now_ns)
            except (KeyError, ValueError, IndexError) as error:
                raise UsageError(f"line {number}: not a command of ipvsadm -S: {line.strip()!r} ({error})") from error


def _command(words: list[str], table: IpvsTable, now_ns: int) -> None:
    options = _options(words[1:])
    fwmark = int(options["-f"]) if "-f" in options else 0
    protocol, address, port = TCP, parse_address("0.0.0.0"), 0
    for option, number in _PROTOCOL.items():
        if option in options:
            protocol = number
            address, port = parse_endpoint(options[option])
    if words[0] == "-A":
        table.add_service(
            protocol, address, port, options.get("-s", "wlc"), fwmark=fwmark,
            flags=tuple(options["-b"].split(",")) if "-b" in options else (),
            persistence_ns=int(options.get("-p", "0")) * S, prefix_length=_prefix_length(options.get("-M")),
        )
    elif words[0] == "-a":
        if "-m" not in options:
            raise ValueError("only masquerading, -m, is known")
        service = table.fwmark_services[fwmark] if fwmark else table.lookup(protocol, address, port)
        if service is None:
            raise ValueError("no such service")
        table.add_server(service, *parse_endpoint(options["-r"]), int(options.get("-w", "1")), now_ns)
    else:
        raise ValueError(f"{words[0]} is neither -A nor -a")


def _options(words: list[str]) -> dict[str, str]:
    """Options and their arguments; `-m` has none."""
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            raise ValueError(f"unexpected {word!r}")
        if word == "-m":
            options[word] = ""
        elif word in ("-t", "-u", "--sctp-service", "-f", "-s", "-p", "-M", "-b", "-r", "-w"):
            options[word] = next(rest, "")
        else:
            raise ValueError(f"unknown option {word}")
    return options


def _prefix_length(mask: str | None) -> int | None:
    if mask is None:
        return None
    return parse_address(mask).bit_count() if "." in mask else int(mask)
