"""Kind `graceful`: how a real server with or without connections is let go."""

from __future__ import annotations

from typing import Any

from svcsim.kube.timings import load_timings
from svcsim.kubeproxy.graceful_termination import GracefulTermination
from svcsim.linux.address import format_address, parse_address
from svcsim.linux.ipvs import IpvsSysctls, IpvsTable
from svcsim.linux.packet import PROTOCOL_NUMBER
from svcsim.units import S

KIND = "graceful"


def run(vector: dict[str, Any]) -> None:
    assert vector["checkIntervalSeconds"] * S == load_timings().proxy_graceful_check_ns
    case = vector["case"]
    virtual = case["virtualServer"]
    table = IpvsTable(IpvsSysctls.of_kube_proxy())
    service = table.add_service(
        PROTOCOL_NUMBER[virtual["protocol"]], parse_address(virtual["address"]), virtual["port"], "rr"
    )
    for row in reversed(case["before"]):
        server = table.add_server(service, parse_address(row["address"]), row["port"], row["weight"], 0)
        server.active, server.inactive = row["activeConn"], row["inactiveConn"]
    terminating = GracefulTermination(table)
    doomed = service.server(parse_address(case["delete"]["address"]), case["delete"]["port"])
    if doomed is not None:
        terminating.delete(doomed, 0)
    rows = [
        {
            "address": format_address(server.address), "port": server.port, "weight": server.weight,
            "activeConn": server.active, "inactiveConn": server.inactive,
        }
        for server in service.servers
    ]
    assert rows == case["after"], f"real servers: expected {case['after']}, got {rows}"
    assert (doomed in terminating) == case["inTerminationList"]
