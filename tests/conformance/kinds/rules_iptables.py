"""rules-iptables: what kube-proxy hands to iptables-restore, line by line, by dumps that its tests state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier, SyncPlan
from tests.conformance.kinds._proxy import Objects, settings_of

KIND = "rules-iptables"
SECOND_NS = 1_000_000_000


class Proxy:
    """A proxier under test, whose order of shared chains is the sorted one of the vectors."""

    def __init__(self, vector: dict[str, Any]) -> None:
        settings = settings_of(vector["proxier"])
        period = vector["proxier"].get("syncPeriodSeconds", 30) * SECOND_NS
        threshold = vector.get("threshold", settings.large_cluster_endpoints)
        settings = replace(settings, sync_period_ns=period, large_cluster_endpoints=threshold)
        self.objects = Objects(settings)
        self.proxier = IptablesProxier(settings, self.objects.tracker, IptablesProgrammes())

    def change(self, change: dict[str, Any]) -> None:
        self.objects.apply(change.get("apply") or [])
        self.objects.delete(change.get("delete") or [])

    def sync(self, now_ns: int = 0, *, full: bool = False) -> tuple[SyncPlan, list[str]]:
        plan = self.proxier.sync(now_ns, full=full)
        return plan, self.proxier.restore_input(plan).lines()


def _check_lines(found: list[str], expected: list[str], where: str) -> None:
    missing = [line for line in expected if line not in found]
    extra = [line for line in found if line not in expected]
    assert (missing, extra) == ([], []), f"{where}: missing {missing}, not wanted {extra}"
    assert found == expected, f"{where}: the lines stand in another order: {found}"


def run(vector: dict) -> None:
    """Sync after each change and compare the input with the expected one."""
    proxy = Proxy(vector)
    steps = vector.get("steps")
    if steps is None:
        proxy.change({"apply": vector["apply"]})
        _check_lines(proxy.sync()[1], vector["expected"], "dump")
        return
    if "do" in steps[0]:
        _run_large_cluster(proxy, steps)
        return
    for step in steps:
        proxy.change(step["change"])
        if step["change"].get("forcedPartialRestoreFailure"):
            proxy.proxier.fail(proxy.proxier.prepare())
        plan, lines = proxy.sync()
        assert plan.full == (step["sync"] == "full"), f"{step['name']}: full is {plan.full}"
        _check_lines(lines, step["expected"], step["name"])
        assert plan.nat_written == step["natRulesWrittenThisSync"], f"{step['name']}: {plan.nat_written} nat rules written"
        assert plan.nat_total == step["natRulesTotal"], f"{step['name']}: {plan.nat_total} nat rules in all"


# ---- the large cluster: its steps are told in words --------------------------------------------------------------------


def _service(namespace: str, cluster_ip: str, port: int) -> dict[str, Any]:
    name = namespace.replace("ns", "svc")
    spec = {"clusterIP": cluster_ip, "ports": [{"name": f"p{port}", "protocol": "TCP", "port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def _slice(namespace: str, port: int, addresses: list[str]) -> dict[str, Any]:
    name = namespace.replace("ns", "svc")
    labels = {"kubernetes.io/service-name": name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": f"{name}-1", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": f"p{port}", "port": port, "protocol": "TCP"}],
    }


def _addresses(prefix: str) -> list[str]:
    return [f"{prefix}.{number % 256}.{number // 256}" for number in range(499)]


def _first(proxy: Proxy) -> None:
    proxy.objects.apply([
        _service("ns1", "172.30.0.41", 80), _slice("ns1", 80, _addresses("10.0")),
        _service("ns2", "172.30.0.42", 8080), _slice("ns2", 8080, _addresses("10.1")),
        _service("ns3", "172.30.0.43", 8081),
    ])  # fmt: skip


def _cross(proxy: Proxy) -> None:
    proxy.objects.apply([_slice("ns3", 8081, ["203.0.113.4", "203.0.113.8", "203.0.113.12"])])


def _add_fourth(proxy: Proxy) -> None:
    proxy.objects.apply([_service("ns4", "172.30.0.44", 8082), _slice("ns4", 8082, ["10.4.0.1"])])


def _delete_fourth(proxy: Proxy) -> None:
    proxy.objects.delete([{"kind": "Service", "namespace": "ns4", "name": "svc4"}])


def _nothing(proxy: Proxy) -> None:
    pass


_WORDS: tuple[tuple[str, Callable[[Proxy], None]], ...] = (
    ("ns1/svc1:p80 and ns2/svc2:p8080 with 499 endpoints each", _first),
    ("add 3 endpoints to ns3/svc3", _cross),
    ("add ns4/svc4:p8082 with endpoint 10.4.0.1:8082", _add_fourth),
    ("last chain cleanup = now; delete ns4/svc4", _delete_fourth),
    ("last chain cleanup = now minus sync period", _nothing),
    ("forced full sync", _nothing),
)


def _run_large_cluster(proxy: Proxy, steps: list[dict[str, Any]]) -> None:
    now_ns = 1_000 * SECOND_NS
    for step in steps:
        told = step["do"]
        act = next((act for words, act in _WORDS if told.startswith(words)), None)
        assert act is not None, f"a step that is told in unknown words: {told}"
        act(proxy)
        if "minus sync period" in told:
            now_ns += proxy.proxier.settings.sync_period_ns + SECOND_NS
        _, lines = proxy.sync(now_ns, full="full sync" in told)
        written = [line for line in lines if line.startswith("-A KUBE-SEP-") and "-j DNAT" in line]
        assert len(written) == step["sepDnatRulesWritten"], f"{told}: {len(written)} DNAT rules"
        if "withComments" in step:
            commented = sum("--comment" in line for line in written)
            assert commented == step["withComments"], f"{told}: {commented} with comments"
        if "line" in step:
            assert step["line"] in lines, f"{told}: no line {step['line']}"
        if "chainDeletions" in step:
            deleted = sorted(line for line in lines if line.startswith("-X"))
            assert deleted == sorted(step["chainDeletions"]), f"{told}: {deleted}"
