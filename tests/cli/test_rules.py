"""`svcsim rules`: what a node's tools would print, and that those tools take it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

import svcsim
from svcsim.cli.main import run
from svcsim.linux import ipset
from svcsim.linux.dump import read
from svcsim.linux.ipvs.settings import IpvsSysctls
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.ipvs.text import format_save, restore
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.netfilter.save import canonical, save
from svcsim.linux.nftables import listing
from svcsim.report.node_rules import rules_of
from tests.world.small import ALL_MODES, SMALL, small
from tests.world.test_services import NODE_PORT


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL + "compare: {kubernetes.proxy: [userspace, iptables, iptables/nft, ipvs/rr, nftables]}\n")
    return str(path)


def in_namespace(script, given, *tools):
    """What a shell script prints in a network namespace of its own; the test is skipped where there can be none."""
    lacking = [tool for tool in ("unshare", *tools) if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacking:
        pytest.skip(f"not installed: {', '.join(lacking)}" if lacking else "needs root")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs network namespaces")
    done = subprocess.run(["unshare", "--net", "sh", "-ec", script], input=given, capture_output=True, text=True, check=False)
    if done.returncode and ("initialize" in done.stderr or "Cannot open session" in done.stderr):
        pytest.skip(f"the kernel lacks it: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def parts(mode, at_ns=0, **more):
    world = svcsim.world.build(small(mode=mode, **more))
    if at_ns:
        world.advance(at_ns)
    return rules_of(world, "worker-1").parts


def without_comments(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("mode", ["iptables", "userspace", "ipvs/rr"])
def test_saved_iptables_rules_read_back_as_they_were(mode):
    text = parts(mode, **NODE_PORT)["iptables"]
    read = iptables_text.parse(text)
    assert without_comments(save(read)) == without_comments(text)
    assert all(canonical(rule) == rule for table in read.values() for rules in table.chains.values() for rule in rules)


def test_listed_nftables_rules_read_back_as_they_were():
    text = parts("nftables", **NODE_PORT)["nft"]
    assert listing.render(listing.parse(text)) == text


def test_sets_and_virtual_servers_read_back_as_they_were():
    found = parts("ipvs/rr", **NODE_PORT)
    assert ipset.save(ipset.parse(found["ipset"])) == found["ipset"]
    table = IpvsTable(IpvsSysctls.of_kube_proxy())
    restore(found["ipvsadm"].splitlines(), table, 0)
    assert format_save(table) == found["ipvsadm"]


def by_table(text):
    """Lines of each table; which table comes first depends on what the host has used last."""
    return sorted(block.strip() for block in "\n".join(without_comments(text)).split("COMMIT"))


@pytest.mark.parametrize("backend", ["legacy", "nft"])
@pytest.mark.parametrize("mode", ["iptables", "userspace"])
def test_iptables_takes_the_rules_and_saves_the_same(backend, mode):
    given = parts(f"iptables/{backend}" if mode == "iptables" else mode, **NODE_PORT)["iptables"]
    tool = f"iptables-{backend}"
    assert by_table(in_namespace(f"{tool}-restore; {tool}-save", given, f"{tool}-restore")) == by_table(given)


def test_nft_takes_the_table_and_lists_the_same():
    given = parts("nftables", **NODE_PORT)["nft"]
    assert sorted(in_namespace("nft -f -; nft list ruleset", given, "nft").splitlines()) == sorted(given.splitlines())


DUAL = {"kubernetes__serviceCIDR": "10.96.0.0/12,fd00:10:96::/112"}
SELECTOR = "      selector: {app: web}\n"
DUAL_TEXT = SMALL.replace(SELECTOR, f"      ipFamilyPolicy: RequireDualStack\n{SELECTOR}", 1)


@pytest.mark.parametrize("mode", ["iptables", "ipvs/rr", "nftables"])
def test_a_dual_stack_node_has_rules_of_both_families(mode):
    found = parts(mode, text=DUAL_TEXT, **DUAL)
    dump = read([(name, text.encode()) for name, text in found.items()])
    assert not dump.not_understood
    if mode == "nftables":
        assert [table.table_family for table in dump.tables] == ["ip", "ip6"]
        text = in_namespace("nft -f -; nft list ruleset", found["nft"], "nft")
        assert sorted(text.splitlines()) == sorted(found["nft"].splitlines())
        return
    assert set(dump.iptables) == {"IPv4", "IPv6"}
    whole = read([("all", "\n".join(found.values()).encode())])
    assert (whole.iptables, whole.sets.keys(), whole.services.keys()) == (
        dump.iptables, dump.sets.keys(), dump.services.keys()
    )
    if mode == "iptables":
        for tool, part in (("iptables-legacy", "iptables"), ("ip6tables-legacy", "ip6tables"), ("ip6tables-nft", "ip6tables")):
            saved = in_namespace(f"{tool}-restore; {tool}-save", found[part], f"{tool}-restore")
            assert by_table(saved) == by_table(found[part])


def test_ipset_and_iptables_take_what_ipvs_mode_needs():
    given = parts("ipvs/rr", **NODE_PORT)
    saved = in_namespace("ipset restore; ipset save", given["ipset"], "ipset")
    ours, theirs = ipset.parse(given["ipset"]), ipset.parse(saved)
    assert [(each.name, each.type) for each in theirs] == [(each.name, each.type) for each in ours]
    assert [set(each.elements) for each in theirs] == [set(each.elements) for each in ours]
    assert all(other.options.startswith(own.options) for own, other in zip(ours, theirs, strict=True))
    rules = "\n".join(without_comments(given["iptables"]))
    script = f"ipset restore <<'END'\n{given['ipset']}END\niptables-legacy-restore; iptables-legacy-save"
    assert by_table(in_namespace(script, f"{rules}\n", "ipset", "iptables-legacy-restore")) == by_table(given["iptables"])


# ---- the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*ALL_MODES, "iptables/nft"])
def test_each_mode_prints_what_its_tools_do(file, capsys, mode):
    assert run(["rules", file, "--node", "worker-2", "--mode", mode]) == 0
    out = capsys.readouterr().out
    wanted = {"nftables": ["table ip kube-proxy {"], "ipvs/rr": ["create KUBE-", "*nat", "-A -t 10."]}.get(mode, ["*nat"])
    assert all(text in out for text in wanted)


def test_a_part_stands_alone(file, capsys):
    assert run(["rules", file, "--node", "worker-2", "--mode", "ipvs/rr", "--part", "ipvsadm"]) == 0
    assert all(line.startswith(("-A -t", "-a -t")) for line in capsys.readouterr().out.splitlines())


def test_rules_are_those_of_the_instant(tmp_path, capsys):
    path = tmp_path / "scaled.yaml"
    path.write_text(SMALL + 'faults: [{at: 1s, scale: deployment/web, replicas: 1}]\n')
    assert run(["rules", str(path), "--node", "worker-1", "--mode", "iptables", "--at", "6s"]) == 0
    assert capsys.readouterr().out.count("-j DNAT") == 1
    assert run(["rules", str(path), "--node", "worker-1", "--mode", "iptables", "--diff", "6s"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("--- iptables-save: worker-1 at 0 s, iptables\n+++ iptables-save: worker-1 at 6 s, iptables\n")
    removed = [line for line in out.splitlines() if line.startswith("-") and "-j DNAT" in line]
    assert len(removed) == 2
    assert not [line for line in out.splitlines() if line.startswith("+") and "-j DNAT" in line]


@pytest.mark.parametrize("mode", ["iptables", "ipvs/rr", "nftables"])
def test_states_without_a_change_do_not_differ(file, capsys, mode):
    assert run(["rules", file, "--node", "worker-1", "--mode", mode, "--diff", "1s"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no difference" in captured.err


def test_two_variants_differ_by_what_they_program(file, capsys):
    assert run(["rules", file, "--node", "worker-1", "--mode", "iptables", "--diff", "userspace"]) == 0
    assert "+:KUBE-PORTALS-HOST - [0:0]" in capsys.readouterr().out
    assert run(["rules", file, "--node", "worker-1", "--only", "nftables", "--diff", "iptables"]) == 0
    assert "+++ iptables-save: worker-1 at 0 s, iptables" in capsys.readouterr().out


def test_the_text_can_go_to_a_file(file, tmp_path, capsys):
    saved = tmp_path / "saved.txt"
    assert run(["rules", file, "--node", "worker-1", "--mode", "iptables", "--save", str(saved)]) == 0
    assert capsys.readouterr().out == ""
    assert saved.read_text().startswith("# Generated by iptables-save of svcsim: worker-1 at 0 s, iptables\n*nat\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--node says whose rules are meant: worker-1, worker-2, worker-3"),
        (["--node", "worker-1"], "choose one with --mode or --only"),
        (["--node", "worker-9", "--mode", "iptables"], "there is no node 'worker-9'"),
        (["--node", "worker-1", "--mode", "iptables", "--part", "nft"], "has no nft, but iptables"),
        (["--node", "worker-1", "--mode", "ipvz"], "ipvz"),
        (["--node", "worker-1", "--mode", "iptables", "--at", "soon"], "--at"),
        (["--node", "worker-1", "--mode", "iptables", "--diff", "soon"], "--diff: not a time, as 40s; there is no proxy mode"),
        (["--node", "worker-1", "--mode", "iptables", "--save", "/nowhere/at/all"], "can't write"),
    ],
)
def test_mistakes_are_messages(file, capsys, arguments, message):
    assert run(["rules", file, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_node_without_power_has_no_rules(tmp_path, capsys):
    path = tmp_path / "down.yaml"
    path.write_text(SMALL + 'faults: [{at: 1s, down: node/worker-3}]\n')
    assert run(["rules", str(path), "--node", "worker-3", "--mode", "iptables", "--at", "2s"]) == 2
    assert "worker-3 has no power at 2 s" in capsys.readouterr().err
