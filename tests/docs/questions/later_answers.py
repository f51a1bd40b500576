"""What the second ten scenarios of scenarios/questions/ answer."""

from __future__ import annotations

import numpy as np

from svcsim.engine.journal import Happening
from svcsim.results.comparison import Comparison
from svcsim.results.records import Outcome
from svcsim.units import S, format_ns
from tests.docs.questions.words import Asked, megabytes, seconds, share

Answer = tuple[str, str]
NODES = 20
"""Of the scenario on endpoints, all of which watch."""


def prestop(of: Comparison) -> Answer:
    asked = Asked(of)
    sleeps = {"no-sleep": 0, "sleep-1s": 1, "sleep-3s": 3, "sleep-6s": 6}

    def enough(pace: str) -> str:
        failures = {sleep: asked.value(f"{pace}/{sleep}", "failures") for sleep in sleeps}
        least = next((length for sleep, length in sleeps.items() if failures[sleep] == 0), None)
        tried = ", ".join(f"{failures[sleep]:.0f} after {length} s" for sleep, length in sleeps.items())
        return f"{'none of them is' if least is None else f'{least} s is'} enough (failed requests: {tried})"

    return (
        f"Where nodes sync once a second, of the pauses tried {enough('sync-1s')}.",
        f"Where they sync once in 5 s {enough('sync-5s')}: the pause must be longer than what the change takes to reach the "
        f"last node.",
    )


def ipvs_deleted_pod(of: Comparison) -> Answer:
    asked = Asked(of)

    def said(version: str) -> str:
        resets = asked.value(version, "failures.reset")
        return f"cuts them ({resets:.0f} connections reset)" if resets else "drains them (no reset)"

    def last_ns(version: str) -> int:
        return int(of[version].runs[0].during("8s", None).of_endpoint(_first(of, version)).requests.start_ns.max()) - 8 * S

    return (
        f"Kubernetes 1.11 {said('v1.11')}, 1.13 {said('v1.13')}: there the real server stays with weight 0.",
        f"The deleted pod answered over its old connections for another {seconds(last_ns('v1.13'))} with 1.13, for "
        f"{seconds(last_ns('v1.11'))} with "
        "1.11.",
    )


def _first(of: Comparison, version: str) -> str:
    """The pod that the fault deletes: the first one of the Deployment."""
    return of[version].runs[0].names.endpoints[0]


def affinity_dead_pod(of: Comparison) -> Answer:
    asked = Asked(of)
    late = {name: asked.value(f"same-pod/{name}", "error_rate", start_s=40) for name in ("off", "on", "iptables")}
    stuck = "as long as they come back" if late["off"] > 0 else "no longer than a moment"
    return (
        f"With IPVS and expire_quiescent_template off {share(late['off'])} of the requests fail 30 s after a pod went: its "
        f"clients stay with it "
        f"{stuck}, at most 10,800 s without a connection.",
        f"With it on, as kube-proxy sets it now, {share(late['on'])} fail; with iptables {share(late['iptables'])}.",
    )


def udp_replaced(of: Comparison) -> Answer:
    asked = Asked(of)
    outage = {name: asked.value(name, "outage", fault=1) for name in ("flushed", "not-flushed")}
    errors = asked.value("not-flushed", "error_rate", start_s=10, end_s=40)
    return (
        f"Where kube-proxy works, for {seconds(outage['flushed'])}, until it deletes the conntrack entry of the pod that is "
        f"gone.",
        f"Where it does not, {share(errors)} of the datagrams go nowhere for {seconds(outage['not-flushed'])}, until it is "
        f"back: traffic "
        f"{'itself keeps the entry alive' if errors > 0.9 else 'finds another pod'}.",
    )


def dns_5s(of: Comparison) -> Answer:
    asked = Asked(of)

    def slow(kernel: str, workload: str) -> float:
        dns = of[kernel].measured.of_workload(workload).requests.dns_ns
        return float(np.mean(dns > 1 * S))

    longest = {libc: asked.value("linux-4.19", "latency.max", workload=libc) for libc in ("glibc", "musl")}
    new = max(slow("linux-6.18", libc) for libc in ("glibc", "musl"))
    return (
        f"On Linux 4.19 {100 * slow('linux-4.19', 'glibc'):.1f}% of glibc's look-ups wait {seconds(longest['glibc'])} and "
        f"{100 * slow('linux-4.19', 'musl'):.1f}% of musl's {seconds(longest['musl'])}: one of two questions sent at once "
        f"was dropped.",
        f"With single-request-reopen {share(slow('linux-4.19', 'glibc-reopen'))} wait, and on Linux 6.18 {share(new)}.",
    )


def conntrack_full(of: Comparison) -> Answer:
    asked = Asked(of)
    runs = {variant.label: variant.runs[0] for variant in of}
    peak = max(runs["16000-entries"].counters.conntrack_peak.values())
    fits = asked.value("16000-entries", "failures") == 0

    def failed(variant: str) -> str:
        return share(asked.value(variant, "error_rate", start_s=60))

    return (
        f"100 connections a second hold up to {peak:,} entries, {peak / 100:.0f} s of "
        f"them{', and 16,000 is enough' if fits else ''}: rate times "
        "the two minutes of TIME_WAIT.",
        f"With 8,000 entries {failed('8000-entries')} of the requests after the first minute time out, with 4,000 "
        f"{failed('4000-entries')}.",
    )


def reset_by_peer(of: Comparison) -> Answer:
    asked = Asked(of)
    reset = {mode: asked.value(mode, "failures.reset") for mode in ("ipvs/rr", "iptables", "nftables")}
    share_reset = reset["ipvs/rr"] / asked.value("ipvs/rr", "requests")
    who = [mode for mode, count in reset.items() if count]
    expected = np.exp(-15 / 10)
    return (
        f"With {' and '.join(who) or 'no mode'} {share(share_reset)} of the requests meet a connection that was forgotten "
        f"after 15 min of "
        f"silence, and are reset (a gap as long has a chance of {100 * expected:.0f}%).",
        f"With iptables {reset['iptables']:.0f} and with nftables {reset['nftables']:.0f} are reset: conntrack remembers for "
        f"a day.",
    )


def slow_changes(of: Comparison) -> Answer:
    asked = Asked(of)
    outage = {name: asked.value(name, "outage") for name in ("iptables/1s", "iptables/10s", "nftables/1s")}
    longer = outage["iptables/10s"] / outage["iptables/1s"]
    knob = "minSyncPeriod" if longer > 2 else "neither"
    return (
        f"{knob}: the worst of three runs sends to a deleted pod for {seconds(outage['iptables/10s'])} with minSyncPeriod 10 "
        f"s, and for "
        f"{seconds(outage['iptables/1s'])} with 1 s.",
        f"A sync itself takes {format_ns(_sync_ns(of, 'iptables/1s'))} with iptables and "
        f"{format_ns(_sync_ns(of, 'nftables/1s'))} with nftables at "
        "500 Services, on average.",
    )


def _sync_ns(of: Comparison, variant: str) -> float:
    spans = [
        entry.at_ns - began_ns
        for run in of[variant].runs for entry in run.journal.entries
        if entry.kind is Happening.PROXY_SYNCED and isinstance(began_ns := entry.detail.get("began_ns"), int)
    ]
    return float(np.mean(spans))


def local_policy(of: Comparison) -> Answer:
    asked = Asked(of)
    counts = of["iptables"].runs[0].during("1s", "10s").answered_by()
    parts = sorted(100 * each / sum(counts.values()) for each in counts.values())
    node = "the balancer divides by node" if parts[-1] > 1.3 * 100 / 3 else "the balancer divides by pod"
    lost = asked.value("iptables", "error_rate", start_s=11, end_s=12)
    return (
        f"Two pods on one node and one on another get {'/'.join(f'{each:.0f}' for each in parts)}%: {node}.",
        f"When the lone pod's node is drained, {share(lost)} of new connections are lost for "
        f"{seconds(asked.value('iptables', 'outage'))}, "
        "until two checks 2 s apart have failed.",
    )


def no_endpoints(of: Comparison) -> Answer:
    requests = of["slices"].measured.of_workload("now-and-then").requests
    fast = requests.latency_ns[requests.outcome == Outcome.REFUSED]
    hasty = of["slices"].measured.of_workload("hasty")
    hung = hasty.outcomes.get(Outcome.CONNECT_TIMEOUT, 0) / len(hasty)
    sent = {name: of[name].runs[0].counters.api_bytes.get(kind, 0) / NODES
            for name, kind in (("endpoints", "endpoints"), ("slices", "endpointslices"))}
    whole = len(fast) == len(requests)
    return (
        f"{'Fast' if whole else 'Mostly fast'}: a connect now and then is refused in {format_ns(float(np.median(fast)))} "
        f"(median); but of ten a "
        f"second {share(hung)} hang until their time-out of 5 s, for a node sends one ICMP error a second to a client.",
        f"Replacing one of 1,000 pods sends {megabytes(sent['endpoints'])} to a node as Endpoints and "
        f"{megabytes(sent['slices'])} as slices; to 5,000 "
        f"nodes that is {megabytes(5000 * sent['endpoints'])} and {megabytes(5000 * sent['slices'])}.",
    )
