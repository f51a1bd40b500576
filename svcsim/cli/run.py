"""`svcsim run SCENARIO`: simulate, print what matters, leave a folder of results."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from svcsim.scenario.model import Scenario


@click.command("run")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("--seed", type=click.IntRange(0), help="Seed of all randomness; instead of run.seed.")
@click.option("--mode", "modes", multiple=True, help="Run this proxy mode, or compare these; may be repeated.")
@click.option("--only", multiple=True, metavar="LABEL", help="Run this variant of the comparison alone; may be repeated.")
@click.option("--replications", type=click.IntRange(1, 1000), help="Runs with different seeds; instead of run.replications.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at a time; default: one a CPU.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; default: runs/SCENARIO-N.")
@click.option("--no-out", is_flag=True, help="Leave no folder.")
@click.option("--figures/--no-figures", default=True, help="Draw figures into the folder (the default).")
@click.option("--report/--no-report", "html", default=True, help="Write report.html into the folder (the default).")
@click.option("--records", type=click.Choice(["npz", "parquet"]), default="npz", help="How request records are written.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, allow_dash=True), help="Summary as JSON; - is stdout.")
@click.option(
    "--pcap", "pcaps", type=click.Path(path_type=Path), multiple=True, metavar="NODE.pcapng",
    help="Write the packets on a node's interfaces; the file is named after the node; may be repeated.",
)
@click.option("--pcap-during", metavar="WINDOW", help="Only the packets of a window, as in 29s..32s or fault[0]..+2s.")
@click.option("--quiet", is_flag=True, help="No progress and no tables.")
def run(
    scenario: Path, settings: tuple[str, ...], seed: int | None, modes: tuple[str, ...], only: tuple[str, ...],
    replications: int | None, jobs: int | None, out: Path | None, no_out: bool, figures: bool, html: bool,
    records: str, json_path: Path | None, pcaps: tuple[Path, ...], pcap_during: str | None, quiet: bool,
) -> None:
    """Simulate SCENARIO and print a table a mode, the anatomy of each fault, and what was expected.

    Exit code 0 when all expectations hold, 1 when one does not, 2 for a mistake in the scenario or the call.

    \b
    svcsim run scenarios/failover.yaml
    svcsim run scenarios/failover.yaml --mode iptables --set run.duration=60s --seed 7
    svcsim run scenarios/failover.yaml --no-figures --quiet --json -
    svcsim run scenarios/failover.yaml --only iptables --pcap w1.pcapng --pcap-during 29s..33s
    """
    from svcsim.cli.overrides import overrides_of
    from svcsim.scenario.loader import load

    loaded = load(scenario, overrides_of(settings, seed=seed, replications=replications, modes=modes))
    call = _call(scenario, settings, modes)
    _simulate(loaded, call, only, jobs, out, no_out, figures, html, records, json_path, pcaps, pcap_during, quiet)


def _call(scenario: Path, settings: tuple[str, ...], modes: tuple[str, ...]) -> str:
    """The command line with all that shapes what is run."""
    words = ["svcsim", "run", str(scenario)]
    for option, values in (("--set", settings), ("--mode", modes)):
        for value in values:
            words += [option, value]
    return shlex.join(words)


def _simulate(
    scenario: Scenario, call: str, only: tuple[str, ...], jobs: int | None, out: Path | None, no_out: bool, figures: bool,
    html: bool, records: str, json_path: Path | None, pcaps: tuple[Path, ...], pcap_during: str | None, quiet: bool,
) -> None:
    from svcsim.cli.writing import check_place, write_text
    from svcsim.report.progress import Progress
    from svcsim.report.scene import scene_of
    from svcsim.report.terminal import footer, header, ink_for, printable, report
    from svcsim.results.expectations import evaluate
    from svcsim.results.folder import default_path, write
    from svcsim.results.summary import dumps, summary
    from svcsim.results.whole import check_free
    from svcsim.scenario.resolved import resolved_yaml
    from svcsim.sweep.runs import jobs_of, run_all

    tables = sys.stderr if json_path is not None and str(json_path) == "-" else sys.stdout

    def say(text: str) -> None:
        if not quiet:
            click.echo(printable(text, tables), file=tables)

    if not no_out:
        check_free(out or default_path(scenario.name))
    if json_path is not None:
        check_place(json_path)
    work = jobs_of(scenario, only)
    captures = None
    if pcaps or pcap_during is not None:
        from svcsim.cli.captures import captures_of

        captures = captures_of(scenario, [job for job, _ in work], pcaps, pcap_during)
    expected = scenario.expectations()
    expectations = [each for each in expected if any(each.is_about(job.label) for job, _ in work)]
    ink = ink_for(tables)
    say(header(scene_of(scenario, (variant for _, variant in work)), ink))
    for note in scenario.notes:
        say(ink.dim(f"note: {note}"))
    for each in expected:
        if each not in expectations:
            say(ink.dim(f"note: {each.where}: an expectation of {each.mode}, which is not run"))
    with Progress(len(work), scenario.run.duration_ns, quiet=quiet) as progress:
        comparison = run_all(
            scenario, processes=jobs, only=only,
            on_progress=lambda job, ended, now_ns: progress.update(job.name, ended, now_ns),
            on_end=lambda job, result: progress.finish(job.name, len(result.requests)), captures=captures, call=call,
        )
    verdicts = evaluate(expectations, comparison)
    say("")
    say(report(comparison, verdicts, ink))
    folder = None
    if not no_out:
        def draw(unfinished: Path) -> None:
            if figures:
                from svcsim.report.plot import Plot

                Plot(comparison.results).save(unfinished / "figures")
            if html:
                from svcsim.report.html.writing import write_report

                write_report(unfinished, comparison, verdicts, resolved)

        resolved = resolved_yaml(scenario)
        folder = write(comparison, out, scenario_text=resolved, verdicts=verdicts, records=records, add=draw)
        say(footer(folder, folder / "report.html" if html else None))
    if captures is not None:
        say(f"packets in {', '.join(str(path) for plan in captures.values() for _, path in plan.files)}")
    if json_path is not None:
        write_text(json_path, dumps(summary(comparison, verdicts)))
    if not all(verdict.holds for verdict in verdicts):
        raise SystemExit(1)
