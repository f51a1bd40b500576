"""IPVS, the kernel's layer-4 load balancer: virtual services, real servers, schedulers and the connection table of one node.

`IpvsTable` holds it all; everything that can happen to it (a SYN, a FIN, an `ipvsadm` command) is a method that takes `now_ns`.
It stands in three files as in the kernel: `connection_table` (entries and their time), `service_table` (commands), `table`
(packets). `schedulers` has one scheduler a file, `text` speaks as `ipvsadm` does.
"""

from svcsim.linux.ipvs.connections import IpvsConnection, Template
from svcsim.linux.ipvs.fates import Dropped, IpvsError, PacketFate
from svcsim.linux.ipvs.services import RealServer, VirtualService
from svcsim.linux.ipvs.settings import IpvsKernel, IpvsSysctls, IpvsTimeouts
from svcsim.linux.ipvs.states import State
from svcsim.linux.ipvs.table import IpvsTable

__all__ = [
    "Dropped",
    "IpvsConnection",
    "IpvsError",
    "IpvsKernel",
    "IpvsSysctls",
    "IpvsTable",
    "IpvsTimeouts",
    "PacketFate",
    "RealServer",
    "State",
    "Template",
    "VirtualService",
]
