"""The registry of modes whose packet flows are tested: how to build a mode's packet path.

A module adds its mode with `PATHS["mode"] = build`, where `build(settings, tracker)` gives a function that syncs what is pending
and returns the node's packet path.
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.kubeproxy.change_tracker import ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.packet import FirstPacketPath

Sync = Callable[[], FirstPacketPath]
PATHS: dict[str, Callable[[ProxySettings, ChangeTracker], Sync]] = {}


def _iptables(settings: ProxySettings, tracker: ChangeTracker) -> Sync:
    proxier = IptablesProxier(settings, tracker, IptablesProgrammes(), order=1)

    def sync() -> FirstPacketPath:
        proxier.sync()
        return proxier.table

    return sync


PATHS["iptables"] = _iptables


def _nftables(settings: ProxySettings, tracker: ChangeTracker) -> Sync:
    proxier = NftablesProxier(settings, tracker, ProgrammeLibrary())

    def sync() -> FirstPacketPath:
        proxier.sync(0)
        return proxier.table

    return sync


PATHS["nftables"] = _nftables
