"""The entries of docs/questions.md: for each scenario its answer, figure, references and what the model lacks for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

import svcsim
from svcsim.report.figures.balance import endpoint_balance
from svcsim.report.figures.bars import metric_bars
from svcsim.report.figures.latency import latency_cdf
from svcsim.report.figures.timeline import timeline_figure
from svcsim.results.comparison import Comparison
from svcsim.results.metrics import Question
from tests.docs.pages import DOCS, ROOT
from tests.docs.questions import answers, later_answers

FOLDER = ROOT / "scenarios" / "questions"
FIGURES = DOCS / "figures" / "questions"
PAGE = DOCS / "questions.md"

Draw = Callable[[Comparison], Figure]
_ISSUE = re.compile(r"k/([a-z]+)#(\d+)")


def bars(metric: str, headline: str, question: Question | None = None) -> Draw:
    """A drawing of one metric a variant."""
    return lambda comparison: metric_bars(comparison, metric, question, headline=headline)


@dataclass(frozen=True, slots=True)
class Entry:
    """How one scenario becomes an entry of the page."""

    slug: str
    answer: Callable[[Comparison], tuple[str, str]]
    draw: Draw
    references: str
    """What is said elsewhere, and where; `k/k#123` is an issue or pull request of kubernetes/kubernetes."""
    caption: str
    lacks: str = ""
    """What the model lacks for a full answer."""

    @property
    def path(self) -> Path:
        """The scenario."""
        return FOLDER / f"{self.slug}.yaml"

    @property
    def figure(self) -> Path:
        """Where its figure stands."""
        return FIGURES / f"{self.slug}.png"

    @property
    def question(self) -> str:
        """The first comment line of the scenario."""
        return self.path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")

    def text(self) -> str:
        """The entry as it stands in the page, with what the scenario's run gives now."""
        first, second = self.answer(outcome(self.slug))
        lines = [
            f"## {int(self.slug[:2])}. {self.question}", "", f"> {first}", ">", f"> {second}", "",
            f"`svcsim run scenarios/questions/{self.slug}.yaml`", "", f"Elsewhere: {_linked(self.references)}", "",
        ]
        if self.lacks:
            lines += [f"Not in the model: {self.lacks}", ""]
        return "\n".join([*lines, f"![{self.caption}](figures/questions/{self.slug}.png)", ""])


def _linked(text: str) -> str:
    repositories = {"k": "kubernetes/kubernetes", "website": "kubernetes/website"}
    return _ISSUE.sub(lambda match: f"[{match[0]}](https://github.com/{repositories[match[1]]}/issues/{match[2]})", text)


@cache
def outcome(slug: str) -> Comparison:
    """What a scenario leaves in all its variants."""
    return svcsim.run(FOLDER / f"{slug}.yaml")


_VIRTUAL_IPS = "[virtual IPs](https://kubernetes.io/docs/reference/networking/virtual-ips/)"
_TIGERA = "[Tigera](https://www.tigera.io/blog/comparing-kube-proxy-modes-iptables-or-ipvs/)"
_NFTABLES = "[kubernetes.io, 2025-02-28](https://kubernetes.io/blog/2025/02/28/nftables-kube-proxy/)"

ENTRIES = (
    Entry(
        "01-mode-at-my-size", answers.mode_at_my_size, bars("part.connect", "What connecting takes, on average"),
        f"{_NFTABLES} measured a first packet at 5,000 Services at 47 µs with iptables and 14 µs with nftables (median), and "
        f"IPVS like "
        "nftables; k/k#14099 asks for 8,000 Services.",
        "What connecting takes in each mode",
        "the hardware of that test, which is not stated. svcsim's costs were measured on a kernel of 2025, where a rule "
        "costs less, so that "
        "iptables falls behind later; [validation](validation.md) has the comparison.",
    ),
    Entry(
        "02-from-how-many-services", answers.from_how_many_services,
        bars("latency.mean", "Mean latency over new connections", Question(workload="new-connections")),
        f"{_TIGERA} found 7% at 1,000 Services and 74% at 5,000, and nothing with keepalive; the EKS guide advises another "
        f"mode from "
        "1,000 on.",
        "Mean latency over new connections by the number of Services",
    ),
    Entry(
        "03-unequal-traffic", answers.unequal_traffic, endpoint_balance,
        f"{_VIRTUAL_IPS}: iptables chooses at random, IPVS in turn by default. Stack Overflow 59609914 and 65000622.",
        "The share of the answers that each pod gave",
    ),
    Entry(
        "04-grpc-sticks", answers.grpc_sticks, endpoint_balance,
        "k/k#38456; [grpc/grpc#7957](https://github.com/grpc/grpc/issues/7957): balancing is by connection, and a greatest "
        "age of connections "
        "helps.",
        "The share of the answers that each pod gave",
    ),
    Entry(
        "05-least-connection", answers.least_connection, endpoint_balance,
        "k/k#79213: four clients on four nodes, one connection each, all on one of two pods; counts are a node's own.",
        "Answers of each pod over the mean, a dot a pod and run",
        "the release in which the order of pods ceased to be the same on all nodes; by the date of "
        "[the change](https://github.com/kubernetes/kubernetes/pull/121744) it is 1.30.",
    ),
    Entry(
        "06-round-robin-uneven", answers.round_robin_uneven, endpoint_balance,
        "k/k#88580 (12 to 19 connections where 13.3 are even) and k/k#126378 (13, 2 and 12 connections for 16 hours after a "
        "restart).",
        "The share of the answers that each pod gave, the restart included",
    ),
    Entry(
        "07-ipvs-one-second", answers.ipvs_one_second, timeline_figure,
        "k/k#70747; k/k#71114 measured 408 requests a second and a median connect of 999 ms; k/k#65820; "
        "[kube-router#544](https://github.com/cloudnativelabs/kube-router/issues/544).",
        "Latency over time: a second more once the ports come round",
    ),
    Entry(
        "08-ipvs-removed-pod", answers.ipvs_removed_pod, timeline_figure,
        "k/k#81775, k/k#93297: with conn_reuse_mode 0 a real server of weight 0 never drains under one busy client.",
        "Success over time: on the old kernel a third goes on failing",
    ),
    Entry(
        "09-node-dies", answers.node_dies, timeline_figure,
        "k/website#41564, k/k#16257, k/k#17284, k/k#8335: 40 to 50 s, in which one of N connections times out.",
        "Success over time, until the endpoints of the dead node go",
    ),
    Entry(
        "10-retry-another", answers.retry_another, timeline_figure,
        f"{_VIRTUAL_IPS}: the userspace proxy tries another pod, iptables does not; k/k#14399.",
        "Success over time in each mode",
    ),
    Entry(
        "11-prestop", later_answers.prestop, bars("failures", "Requests that failed in a rolling update"),
        "k/k#43576 (3 s are generally enough), k/k#20473, k/k#67592, "
        "[cilium#45593](https://github.com/cilium/cilium/issues/45593), "
        "[KEP-3960](https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/3960-pod-lifecycle-sleep-action): "
        "longer than the "
        "change takes to reach all nodes.",
        "Requests that failed by pace of syncs and length of the pause",
        "a large cluster's delay until watches deliver, which adds to the pause; set `kubernetes.timings.watchLatency` to yours.",
    ),
    Entry(
        "12-ipvs-deleted-pod", later_answers.ipvs_deleted_pod, timeline_figure,
        "k/k#57841 (existing connections cut at once), k/k#66012 (weight 0 since), k/k#99162.",
        "Success over time around the deletion",
        "that kernels before 5.9 drop a segment first; svcsim resets at once.",
    ),
    Entry(
        "13-affinity-dead-pod", later_answers.affinity_dead_pod, timeline_figure,
        "k/k#71809, k/k#81591: up to 10,800 s without expire_quiescent_template.",
        "Success over time after one of three pods went",
    ),
    Entry(
        "14-udp-blackhole", later_answers.udp_replaced, timeline_figure,
        "k/k#59368, k/k#19029, k/k#48370, k/k#125467, k/k#139628: until the entry is flushed or has been idle for 30 s "
        "(unanswered) or 120 s; 13 "
        "hours were seen.",
        "Success over time after all pods were replaced",
        "the faults of particular releases that forgot to delete entries. A kube-proxy that is away stands for them.",
    ),
    Entry(
        "15-dns-5s", later_answers.dns_5s, latency_cdf,
        "k/k#56903 (about one look-up in twenty), [AKS#1657](https://github.com/Azure/AKS/issues/1657) (2.5 s with Alpine's "
        "musl).",
        "Latency with the look-up: a few wait 2.5 s or 5 s",
        "how often the clash happens on your machines: it depends on how two CPUs share a node's packets.",
    ),
    Entry(
        "16-conntrack-full", later_answers.conntrack_full, timeline_figure,
        "k/k#18604: at the limit new connections are dropped.",
        "Success over time with tables of three sizes",
    ),
    Entry(
        "17-reset-by-peer", later_answers.reset_by_peer, bars("failures.reset", "Requests that were reset"),
        "k/k#74839, k/k#117924: an answer that conntrack calls INVALID is not translated back, and the client resets.",
        "Requests that were reset in each mode",
        "packets in state INVALID, the cause in these issues, which needs late duplicates of segments. What is shown is the "
        "other frequent "
        "cause: a connection that was idle for longer than a node remembers.",
    ),
    Entry(
        "18-slow-changes", later_answers.slow_changes, bars("outage", "How long a deleted pod is sent to"),
        "k/k#27021, k/k#35334, "
        "[KEP-3453](https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/3453-minimize-iptables-restore), "
        "k/k#135639: the pause between syncs, the mode, the number of Services, the kernel.",
        "How long a deleted pod is still sent to",
        "kube-proxy of 2016, which wrote rule by rule for minutes, and the load of 5,000 nodes on the API server, which "
        "brings the p99 of a change "
        "to 25 s and more there.",
    ),
    Entry(
        "19-local-policy", later_answers.local_policy, timeline_figure,
        "k/k#68474, k/k#50977, "
        "[KEP-1669](https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/1669-proxy-terminating-endpoints), "
        "[AKS#4905](https://github.com/Azure/AKS/pull/4905): 25, 25 and 50% for two pods and one; loss until the balancer's "
        "health check.",
        "Success over time: loss until the health check",
        "balancers that follow a node's drain by other means, as by its taints.",
    ),
    Entry(
        "20-no-endpoints", later_answers.no_endpoints,
        bars("api_bytes", "Bytes sent to 20 nodes when one pod of 1,000 is replaced"),
        "k/k#31328, k/k#56164 (fast rejection, whose rules in INPUT stalled a node with 5,000 of them), [EndpointSlices]"
        "(https://kubernetes.io/blog/2020/09/02/scaling-kubernetes-networking-with-endpointslices/).",
        "What the API server sends for one replaced pod of 1,000 to 20 nodes",
        "that stall, and the CPU and the links of the API server: bytes are counted and take no time.",
    ),
)
"""The entries in the order of the page."""

HEAD = """# Twenty questions

The questions that users of Services ask most, each with a scenario of a few seconds that answers it. The two lines of each
answer are written from the figures of its run, by `python -m tests.docs.questions`; a test repeats every run, checks what the
scenario expects, and compares the lines. To ask about your cluster take the scenario
(`svcsim examples questions/09-node-dies`) and change what differs.

"""


def page() -> str:
    """The whole page as the runs give it now."""
    return HEAD + "\n".join(entry.text() for entry in ENTRIES)


def write(numbers: list[int]) -> None:
    """Write the page and the figures of these entries, of all without numbers; other entries stay as they are."""
    from PIL import Image

    FIGURES.mkdir(parents=True, exist_ok=True)
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    texts = []
    for number, entry in enumerate(ENTRIES, start=1):
        kept = shown(old).get(number) if numbers and number not in numbers else None
        if kept is not None:
            texts.append(kept)
            continue
        texts.append(entry.text())
        figure = entry.draw(outcome(entry.slug))
        figure.savefig(entry.figure, dpi=90, metadata={"Software": None})
        with Image.open(entry.figure) as image:
            image.convert("RGB").quantize(48).save(entry.figure, optimize=True)
    PAGE.write_text(HEAD + "\n".join(texts), encoding="utf-8")


def shown(text: str) -> dict[int, str]:
    """The entries of a page's text by number."""
    parts = re.split(r"^(?=## \d+\. )", text, flags=re.MULTILINE)[1:]
    return {int(part[3:].partition(".")[0]): part.rstrip("\n") + "\n" for part in parts}
