"""Decisions a CPU second: on a first packet, by each mode's rules and by its compiled table, and by each IPVS scheduler.

    python benchmarks/decisions.py [--services 1000] [--repeats 5] [--only WORD] [--json FILE]

A node knows so many Services of four endpoints; first packets come from many clients to Services at random, each from a port of
its own. `table` is what a run asks, `walk` examines the rules one by one as `svcsim trace` does. A scheduler chooses of sixteen
servers of one virtual service for connections that are closed a little later, so that its counters move. Medians of the repeats,
the garbage collector off; `of bare` divides by the rate of bare SimPy timeouts in the same process, which is what compares
between machines.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.calibrate import bare_timeouts_per_s  # noqa: E402
from svcsim.kube.api.endpoints import EndpointSlice  # noqa: E402
from svcsim.kube.api.service import Service  # noqa: E402
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker  # noqa: E402
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes  # noqa: E402
from svcsim.kubeproxy.iptables_proxier import IptablesProxier  # noqa: E402
from svcsim.kubeproxy.ipvs_node import IpvsNode  # noqa: E402
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier  # noqa: E402
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary  # noqa: E402
from svcsim.kubeproxy.nftables_proxier import NftablesProxier  # noqa: E402
from svcsim.kubeproxy.round_robin import RoundRobin, keyed_shuffle  # noqa: E402
from svcsim.kubeproxy.settings import ProxySettings  # noqa: E402
from svcsim.kubeproxy.userspace_proxier import UserspaceProxier  # noqa: E402
from svcsim.linux.address import Address, format_address, parse_address  # noqa: E402
from svcsim.linux.ipvs import IpvsConnection, IpvsSysctls, IpvsTable  # noqa: E402
from svcsim.linux.ipvs.schedulers import SCHEDULERS  # noqa: E402
from svcsim.linux.packet import TCP, FirstPacketPath, Hook, Packet  # noqa: E402

MODES = ("userspace", "iptables", "ipvs", "nftables")
ENDPOINTS = 4
SERVERS = 16
MODE_PACKETS = 100_000
WALKS = {"userspace": 60, "iptables": 60, "ipvs": 3_000, "nftables": 3_000}
SCHEDULED = 100_000
STEP_NS = 100_000
"""From one packet to the next."""

_CLUSTER_IPS = int(parse_address("10.96.0.0"))
_PODS = int(parse_address("10.244.0.0"))


def objects(services: int) -> list[tuple[Service, EndpointSlice]]:
    """So many Services with their endpoints."""
    made = []
    for number in range(services):
        name = f"web-{number}"
        service = Service.model_validate({
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"clusterIP": format_address(_CLUSTER_IPS + 1 + number), "ports": [{"name": "http", "port": 80}]},
        })
        addresses = [format_address(_PODS + 256 + number * ENDPOINTS + each) for each in range(ENDPOINTS)]
        piece = EndpointSlice.model_validate({
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {}} for address in addresses],
            "ports": [{"name": "http", "port": 8080}],
        })
        made.append((service, piece))
    return made


def path_of(mode: str, made: list[tuple[Service, EndpointSlice]]) -> FirstPacketPath:
    """A node's packet path in a mode, synced."""
    node_ip = Address(parse_address("192.168.0.10"))
    settings = ProxySettings(mode=mode, node_name="node", node_ip=node_ip, local_ips=(node_ip,))  # type: ignore[arg-type]
    tracker = ChangeTracker(Catalogue(), "node")
    for service, piece in made:
        tracker.on_service(service)
        tracker.on_slice(piece)
    if mode == "userspace":
        balancer: RoundRobin[tuple[int, int]] = RoundRobin(keyed_shuffle(1, "node"))
        userspace = UserspaceProxier(settings, tracker, balancer, lambda portal: None, lambda portal: None)
        userspace.prepare(0, full=True).commit()
        return userspace.path
    if mode == "iptables":
        iptables = IptablesProxier(settings, tracker, IptablesProgrammes())
        iptables.sync(0)
        return iptables.table
    if mode == "ipvs":
        ipvs = IpvsProxier(settings, tracker, IpvsLibrary(), IpvsTable(IpvsSysctls.of_kube_proxy()))
        ipvs.sync(0)
        return IpvsNode(ipvs)
    nftables = NftablesProxier(settings, tracker, ProgrammeLibrary())
    nftables.sync(0)
    return nftables.table


def first_packets(count: int, services: int) -> list[Packet]:
    """First packets of pods of the node to Services at random."""
    random = Random(1)
    return [
        Packet(
            TCP, Address(_PODS + 1 + number % 100), 1024 + number // 100 % 60_000,
            Address(_CLUSTER_IPS + 1 + random.randrange(services)), 80, Hook.PREROUTING,
        )
        for number in range(count)
    ]


def rate_of(path: FirstPacketPath, packets: list[Packet], *, walks: bool) -> float:
    """Decisions a CPU second."""
    ask: Callable[[Packet, float, int], object] = path.walk if walks else path.decide
    uniforms = [Random(2).random() for _ in packets]
    ask(packets[0]._replace(source_port=1), 0.5, 0)
    start = time.process_time()
    now_ns = 0
    for packet, uniform in zip(packets, uniforms, strict=True):
        ask(packet, uniform, now_ns)
        now_ns += STEP_NS
    return len(packets) / (time.process_time() - start)


def scheduler_rate(name: str) -> float:
    """New connections a CPU second through one virtual service, each closed after three others have come."""
    table = IpvsTable(IpvsSysctls.of_kube_proxy())
    service = table.add_service(TCP, _CLUSTER_IPS + 1, 80, name)
    for number in range(SERVERS):
        table.add_server(service, _PODS + 256 + number, 8080, 1 + number % 4, 0)
    table.connect(service, _PODS, 1, 0)
    waiting: list[IpvsConnection] = []
    start = time.process_time()
    for number in range(SCHEDULED):
        now_ns = number * STEP_NS
        made = table.connect(service, _PODS + number % 100, 1024 + number // 100, now_ns)
        assert isinstance(made, IpvsConnection)
        waiting.append(made)
        if len(waiting) > 3:
            waiting.pop(0).on_close(now_ns, by_client=True)
    return SCHEDULED / (time.process_time() - start)


def measure(services: int, repeats: int, only: str) -> dict[str, dict[str, float]]:
    """All that is asked for, the cases in turn; medians."""
    made = objects(services)
    cases: dict[str, Callable[[], float]] = {}
    for mode in MODES:
        def table(mode: str = mode) -> float:
            return rate_of(path_of(mode, made), first_packets(MODE_PACKETS, services), walks=False)

        def walk(mode: str = mode) -> float:
            return rate_of(path_of(mode, made), first_packets(WALKS[mode], services), walks=True)

        cases[f"{mode}, table"] = table
        cases[f"{mode}, walk"] = walk
    for name in SCHEDULERS:
        cases[f"scheduler {name}"] = lambda name=name: scheduler_rate(name)  # type: ignore[misc]
    chosen = {name: case for name, case in cases.items() if only in name}
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    bare: list[float] = []
    gc.disable()
    for _ in range(repeats):
        bare.append(bare_timeouts_per_s())
        for name, case in chosen.items():
            rates[name].append(case())
            gc.collect()
    gc.enable()
    return {
        name: {"per_s": statistics.median(found), "of_bare": statistics.median(found) / statistics.median(bare)}
        for name, found in rates.items()
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    found = measure(options.services, options.repeats, options.only)
    print(f"{options.services:,} Services of {ENDPOINTS} endpoints; schedulers over {SERVERS} servers")
    print(f"  {'':24}{'decisions/CPU s':>16}{'us each':>10}{'of bare':>9}")
    for name, figures in found.items():
        print(f"  {name:24}{figures['per_s']:>16,.0f}{1e6 / figures['per_s']:>10,.1f}{figures['of_bare']:>9.4f}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
