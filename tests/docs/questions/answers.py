"""What the first ten scenarios of scenarios/questions/ answer: two lines, whose words and figures come from its runs."""

from __future__ import annotations

from svcsim.results.comparison import Comparison
from svcsim.units import S, format_ns
from tests.docs.questions.words import Asked, grows, more, seconds, share

Answer = tuple[str, str]
MATTERS = 0.1
"""From which part of a mean latency on a cost is said to matter."""


def mode_at_my_size(of: Comparison) -> Answer:
    asked = Asked(of)
    many = {mode: asked.value(f"{mode}/5000-services", "part.connect") for mode in ("iptables", "ipvs/rr", "nftables")}
    few = {mode: asked.value(f"{mode}/1000-services", "part.connect") for mode in many}
    return (
        f"At 5,000 Services connecting takes {format_ns(many['iptables'])} with iptables, "
        f"{more(many['iptables'], many['nftables'])} "
        f"nftables ({format_ns(many['nftables'])}) and {more(many['iptables'], many['ipvs/rr'])} IPVS "
        f"({format_ns(many['ipvs/rr'])}).",
        "From 1,000 to 5,000 Services it " + ", ".join(f"{grows(few[mode], many[mode])} with {mode}" for mode in many) + ".",
    )


def from_how_many_services(of: Comparison) -> Answer:
    asked = Asked(of)
    counts = (10, 1000, 5000)

    def cost(profile: str, workload: str) -> list[float]:
        means = [asked.value(f"{profile}/{count}-services", "latency.mean", workload=workload) for count in counts]
        return [mean / means[0] - 1 for mean in means]

    def verdict(profile: str) -> str:
        costs = cost(profile, "new-connections")
        added = " and ".join(f"{100 * each:.0f}% at {count:,}" for each, count in zip(costs[1:], counts[1:], strict=True))
        first = next((count for each, count in zip(costs, counts, strict=True) if each >= MATTERS), None)
        return f"{added}, {f'less than a tenth up to {counts[-1]:,}' if first is None else f'a tenth or more from {first:,} on'}"

    kept = max(max(map(abs, cost(profile, "kept-connections"))) for profile in ("today", "kernel-2017"))
    hides = "hides it" if kept < 0.02 else "hides most of it" if kept < MATTERS else "does not hide it"
    return (
        f"With new connections a short request takes longer by {verdict('today')}; on a kernel of 2017 by "
        f"{verdict('kernel-2017')}.",
        f"Keepalive {hides}: over kept connections the mean moves by {100 * kept:.1f}% at most.",
    )


def unequal_traffic(of: Comparison) -> Answer:
    counts = {variant.label: list(variant.measured.answered_by().values()) for variant in of}

    def of_mode(mode: str) -> str:
        dealt = counts[mode]
        kind = "in turn" if max(dealt) - min(dealt) <= 1 else "at random"
        return f"{mode} {kind} ({', '.join(map(str, dealt))})"

    spread = max(max(each) - min(each) for mode, each in counts.items() if mode != "ipvs/rr")
    requests = sum(counts["iptables"])
    chance = (requests / 3 * 2 / 3) ** 0.5
    within = "what chance makes" if spread <= 4 * chance else "more than chance makes"
    return (
        f"{requests} connections of one client are dealt to three pods: " + ", ".join(of_mode(mode) for mode in counts) + ".",
        f"A spread of {spread} is {within} (a standard deviation is {chance:.0f}); with fewer connections it weighs more.",
    )


def grpc_sticks(of: Comparison) -> Answer:
    asked = Asked(of)

    def used(variant: str) -> float:
        return asked.value(variant, "endpoints", start_s=10)

    idle = 6 - used("no-limit")
    return (
        f"After the scale-up {used('no-limit'):.0f} of 6 pods get calls, {idle:.0f} stay idle: each client stays with its "
        f"connection.",
        f"With a greatest age of 2 s {used('max-age-2s'):.0f} of 6 get calls; the busiest gets "
        f"{asked.value('max-age-2s', 'balance', start_s=10):.1f} times the mean instead of "
        f"{asked.value('no-limit', 'balance', start_s=10):.1f}.",
    )


def least_connection(of: Comparison) -> Answer:
    def together(version: str) -> int:
        return sum(run.measured.endpoints_used == 1 for run in of[f"{version}/4-nodes/2-pods"].runs)

    runs = len(of.variants[0].runs)
    old, new = of["v1.14/4-nodes/2-pods"].balance, of["v1.14/1-node/2-pods"].balance
    cause = "each node goes by its own counts" if old > 1.5 > new else "the number of nodes does not explain it"
    return (
        f"Four clients on four nodes all meet one of two pods in {together('v1.14')} of {runs} runs with Kubernetes 1.14, in "
        f"{together('v1.33')} with 1.33: {cause}.",
        f"On one node the busier pod gets {new:.2f} times the mean instead of {old:.2f}: there lc sees all connections.",
    )


def round_robin_uneven(of: Comparison) -> Answer:
    def shares(variant: str, start: str, end: str) -> str:
        counts = of[variant].runs[0].during(start, end).answered_by()
        return "/".join(f"{100 * each / sum(counts.values()):.0f}" for each in counts.values())

    idle = 0 in of["kept"].runs[0].during("40s", "60s").answered_by().values()
    return (
        f"Over kept connections three pods get {shares('kept', '2s', '10s')}% before one restarts and "
        f"{shares('kept', '40s', '60s')}% "
        f"half a minute after: {'the restarted one stays idle, for no client connects anew' if idle else 'it recovers'}.",
        f"With a connection for each request it is {shares('new', '2s', '10s')}% before and {shares('new', '40s', '60s')}% "
        f"after.",
    )


def ipvs_one_second(of: Comparison) -> Answer:
    asked = Asked(of)
    before, after = asked.value("linux-4.15", "latency.p50", end_s=65), asked.value("linux-4.15", "latency.p50", start_s=72)
    new = asked.value("linux-5.9", "latency.p50", start_s=72)
    which = "once the client's ports come round, after 70 s" if after > 100 * before else "at no time"
    return (
        f"On Linux 4.15 the median request takes {format_ns(before)} at first and {format_ns(after)} {which}: a SYN that "
        f"meets an old "
        "entry is dropped and sent again.",
        f"On Linux 5.9 it {'stays at' if new < 2 * before else 'goes to'} {format_ns(new)}.",
    )


def ipvs_removed_pod(of: Comparison) -> Answer:
    asked = Asked(of)
    old, new = (asked.value(kernel, "error_rate", start_s=80) for kernel in ("linux-4.15", "linux-5.16"))
    rest = "still go to it" if old > 0.2 else "no longer go to it"
    return (
        f"Ten seconds after one of three pods is removed {share(old)} of the requests {rest} on Linux 4.15: with "
        f"conn_reuse_mode 0 each "
        "SYN from a port used before renews the old entry.",
        f"On Linux 5.16, which chooses anew where the weight is 0, {share(new)} do.",
    )


def node_dies(of: Comparison) -> Answer:
    asked = Asked(of)
    outage = {version: asked.value(version, "outage") for version in ("v1.31", "v1.32")}
    errors = asked.value("v1.32", "error_rate", start_s=5, end_s=35)
    return (
        f"For {seconds(outage['v1.31'])} up to Kubernetes 1.31 and {seconds(outage['v1.32'])} from 1.32 on: the node controller "
        f"{'waits longer' if outage['v1.32'] > outage['v1.31'] + 5 * S else 'waits as long'} before it calls the node not ready.",
        f"Meanwhile {share(errors)} of new connections time out, for one of three pods is gone.",
    )


def retry_another(of: Comparison) -> Answer:
    asked = Asked(of)
    failed = {mode: asked.value(mode, "failures") for mode in ("userspace", "iptables", "ipvs/rr", "nftables")}
    retrying = [mode for mode, count in failed.items() if count == 0]
    others = [f"{mode} {count:.0f}" for mode, count in failed.items() if count]
    return (
        f"While a pod's port is closed requests fail: {', '.join(others)} of {asked.value('iptables', 'requests'):,.0f}. "
        f"None fails with "
        f"{' and '.join(retrying) or 'any mode'}{', which dials and tries the next pod' if retrying == ['userspace'] else ''}.",
        f"Nothing but the readiness probe ends it: after {seconds(asked.value('iptables', 'outage'))} with a period of 5 s "
        f"and two failures.",
    )
