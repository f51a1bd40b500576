"""IPVS, the kernel's layer-4 load balancer: virtual services, real servers, schedulers and the connection table of one node.

`IpvsTable` holds it all; everything that can happen to it (a SYN, a FIN, an `ipvsadm` command) is a method that takes
`now_ns`. `svcsim.linux.ipvs.schedulers` has one scheduler a file, `svcsim.linux.ipvs.text` speaks as `ipvsadm` does.
"""

from svcsim.linux.ipvs.connections import IpvsConnection, Template
from svcsim.linux.ipvs.services import RealServer, VirtualService
from svcsim.linux.ipvs.settings import IpvsSysctls, IpvsTimeouts
from svcsim.linux.ipvs.states import State
from svcsim.linux.ipvs.table import Dropped, IpvsTable, PacketFate

__all__ = [
    "Dropped",
    "IpvsConnection",
    "IpvsSysctls",
    "IpvsTable",
    "IpvsTimeouts",
    "PacketFate",
    "RealServer",
    "State",
    "Template",
    "VirtualService",
]
