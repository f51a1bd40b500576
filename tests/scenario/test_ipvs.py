"""The keys of IPVS reach each node's kernel, and mistakes in them are named."""

import pytest

import svcsim
from svcsim.errors import InputError
from svcsim.linux.ipvs import IpvsKernel
from svcsim.units import S
from svcsim.world import build
from tests.world.small import SMALL, small


def tables(**settings):
    world = build(small(mode="ipvs/rr", **settings))
    return {name: node.proxy.proxiers[0].table for name, node in world.nodes.by_name.items()}


def test_without_keys_it_is_as_kube_proxy_sets_it_on_a_new_kernel():
    for table in tables().values():
        sysctls = table.sysctls
        assert (sysctls.conntrack, sysctls.conn_reuse_mode) == (True, 1)
        assert (sysctls.expire_nodest_conn, sysctls.expire_quiescent_template) == (True, True)
        assert table.kernel == IpvsKernel()


def test_a_kernel_is_that_of_a_node_or_of_all():
    nodes = {"kernel": "5.10", "list": [{"name": "old", "kernel": "4.15.0-213-generic"}, {"name": "new", "count": 2}]}
    found = tables(cluster__nodes=nodes)
    assert found["old"].kernel == IpvsKernel.of((4, 15))
    assert found["new-1"].kernel == found["new-2"].kernel == IpvsKernel.of((5, 10))
    assert [table.sysctls.conn_reuse_mode for table in found.values()] == [0, 1, 1]


def test_a_version_of_kubernetes_decides_what_is_set():
    nodes = {"count": 1, "kernel": "4.15"}
    [table] = tables(cluster__nodes=nodes, kubernetes__version="1.12").values()
    assert table.sysctls.conn_reuse_mode == 1
    [table] = tables(cluster__nodes=nodes, kubernetes__version="1.30").values()
    assert table.sysctls.conn_reuse_mode == 0


def test_what_a_scenario_sets_stands_in_place_of_it():
    given = {
        "connReuseMode": 0, "expireNodestConn": False, "expireQuiescentTemplate": False, "tcpTimeout": "60s",
        "tcpFinTimeout": "20s", "udpTimeout": "10s",
    }
    for table in tables(kubernetes__proxy__ipvs=given).values():
        sysctls, timeouts = table.sysctls, table.timeouts
        assert (sysctls.conn_reuse_mode, sysctls.expire_nodest_conn, sysctls.expire_quiescent_template) == (0, False, False)
        assert (timeouts.tcp_ns, timeouts.tcp_fin_ns, timeouts.udp_ns) == (60 * S, 20 * S, 10 * S)


def test_settings_of_ipvs_mean_mode_ipvs_and_contradict_another():
    scenario = svcsim.loads(SMALL, {"kubernetes.proxy": {"ipvs": {"connReuseMode": 1}}})
    assert scenario.kubernetes.mode == "ipvs"
    with pytest.raises(InputError, match="'ipvs' is for mode ipvs; mode nftables does not use it"):
        svcsim.loads(SMALL, {"kubernetes.proxy": {"mode": "nftables", "ipvs": {"connReuseMode": 1}}})


@pytest.mark.parametrize("kernel", ["new", 5, "5", "v5.4"])
def test_a_kernel_has_a_major_and_a_minor_version(kernel):
    with pytest.raises(InputError, match=r"a version of Linux is expected, as '5\.4'"):
        svcsim.loads(SMALL, {"cluster.nodes": {"count": 1, "kernel": kernel}})
