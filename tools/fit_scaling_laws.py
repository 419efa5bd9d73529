r"""Fit neural scaling laws to run records or a CSV, compare them, and answer what they imply.

    python tools/fit_scaling_laws.py runs/laptop                          # every run_record.json below the folder
    python tools/fit_scaling_laws.py losses.csv --target 0.4              # columns loss, D (or N, or both), seed
    python tools/fit_scaling_laws.py runs/grid --budget 1e18              # best N and D for so many FLOPs
    python tools/fit_scaling_laws.py losses.csv --mode published          # as arXiv:2602.05702 fitted

One variable: power (x0/x)^a, the same with a floor, broken (xc/x)^a2 (1 + xc/x)^(a1 - a2) with the exponents a1 before
and a2 after xc, the same with an amplitude, and the general broken law (--breaks). N and D together: Kaplan- and
Hoffmann-style forms, plain and broken in the data. docs/scaling.md explains modes, intervals and the verdict. Results
go to the terminal and to --out: report.md, fits.csv, fits.tex, fits.json, and figures as PNG and PDF.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dielectric_gnn.errors import InputError
from dielectric_gnn.files import write_text
from dielectric_gnn.run_record import read_records
from dielectric_gnn.scaling.answers import needed, needed_interval
from dielectric_gnn.scaling.comparison import DECISIVE, Comparison, compare
from dielectric_gnn.scaling.fitting import Fit, has_seeds
from dielectric_gnn.scaling.intervals import Interval, bootstrap, profile_intervals
from dielectric_gnn.scaling.laws import BROKEN, BROKEN_AMPLITUDE, POWER, POWER_FLOOR, Law, general_broken
from dielectric_gnn.scaling.points import VALIDATION, Points, Run, grouped, read_table, runs_of
from dielectric_gnn.scaling.report import HEADER, Report, as_json, comma_separated, latex, markdown, number
from dielectric_gnn.scaling.surfaces import SURFACES, compute_optimal, regime

SIMPLE = {law.name: law for law in (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)}


def read(path: Path, metric: str) -> list[Run]:
    """Runs of a folder of records, or of a CSV; what should be known of them goes to stderr."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a folder with run records, or a CSV")
    runs, remarks = read_table(path) if path.is_file() else runs_of(read_records(path), metric)
    for remark in remarks:
        sys.stderr.write(f"{remark}\n")
    return runs


def laws_for(data: Points, options: argparse.Namespace) -> list[Law]:
    """The laws that are compared."""
    if len(data.variables) == 2:
        return list(SURFACES.values())
    general = [general_broken(options.breaks)] if options.breaks else []
    chosen = [SIMPLE[name] for name in options.laws] if options.laws else list(SIMPLE.values())
    return [*chosen, *general]


def report_on(data: Points, options: argparse.Namespace) -> Report:
    """Compare laws on one group of runs, and answer."""
    report = Report(compare(laws_for(data, options), data, options.mode))
    best = report.comparison.best
    if options.mode == "robust":
        report.intervals = profile_intervals(best, options.level)
    _warn(report, data, options)
    if len(data.variables) == 1:
        _answer_curve(report, best, options)
    else:
        _answer_surface(report, best, options)
    return report


def _warn(report: Report, data: Points, options: argparse.Namespace) -> None:
    """Say what cannot be told from these runs, and which options they leave without an answer."""
    single = [size for size, losses in zip(data.sizes, data.members, strict=True) if losses.size == 1]
    if not has_seeds(data):
        report.answers.append(
            "One seed per size: the noise is told from the fit alone, and nothing can be drawn from seeds."
        )
    elif single:
        where = "; ".join(" ".join(f"{k} = {v:g}" for k, v in zip(data.variables, s, strict=True)) for s in single)
        report.answers.append(f"One seed at {where}: its spread is unknown, and the bootstrap keeps it as it is.")
    if options.budget and len(data.variables) == 1:
        report.answers.append(f"--budget asks for runs that vary N and D; these vary {data.variables[0]} only.")
    if options.target and len(data.variables) == 2:
        report.answers.append("--target asks for a law in one variable; choose it with --axis D or --axis N.")


def read_reports(options: argparse.Namespace) -> list[Report]:
    """One report for each group that can be fitted; the others are named on stderr.

    Raises:
        InputError: None can be fitted.
    """
    reports, refused = [], []
    for data in grouped(read(options.source, options.metric), options.axis):
        try:
            reports.append(report_on(data, options))
        except InputError as error:
            refused.append(error)
    if not reports:
        raise refused[0]
    for reason in refused:
        sys.stderr.write(f"left out: {reason}\n")
    return reports


def _answer_curve(report: Report, best: Fit, options: argparse.Namespace) -> None:
    name = best.points.variables[0]
    if best.law in (BROKEN, BROKEN_AMPLITUDE) and "xc" in report.intervals:
        report.answers.append(_break_of(report.comparison, report.intervals["xc"]))
    for target in options.target or ():
        x = needed(best, target)
        interval = needed_interval(best, target, options.draws, options.level) if has_seeds(best.points) else None
        report.answers.append(
            f"A loss of {target:g} needs {name} = {number(x)}" + (f" ({interval})." if interval else ".")
        )
        report.facts[f"needed_for_{target:g}"] = x


def _break_of(comparison: Comparison, ends: Interval) -> str:
    """Where the exponent changes; under a condition where the data leave the shape or the law open."""
    best = comparison.best
    name = best.points.variables[0]
    start = "The exponent changes" if comparison.chosen == "broken" else "If there is a break, it lies"
    rivals = [
        f"{one.law.name}, {one.aicc - best.aicc:.1f} behind in AICc, puts it at {number(one.parameters['xc'])}"
        for one in comparison.fits[1:]
        if one.law in (BROKEN, BROKEN_AMPLITUDE) and one.aicc - best.aicc < DECISIVE
    ]
    place = f"{start} around {name} = {number(best.parameters['xc'])} ({ends}, given {best.law.name})"
    return "; ".join([place, *rivals]) + "."


def _answer_surface(report: Report, best: Fit, options: argparse.Namespace) -> None:
    regimes = {f"N = {number(n)}, D = {number(d)}": regime(best, float(n), float(d)) for n, d in best.points.sizes}
    report.facts["regimes"] = regimes
    limited = sum(kind == "data-limited" for kind in regimes.values())
    report.answers.append(f"{limited} of {len(regimes)} pairs of N and D are data-limited, the others model-limited.")
    for budget in options.budget or ():
        per_run = [r.flops / (r.values["N"] * r.values["D"]) for r in best.points.runs if r.flops]
        cost = options.flops_per_parameter_and_datum or (
            sum(per_run) / len(per_run) if per_run else 6.0 * options.epochs
        )
        found = compute_optimal(best, budget, cost)
        report.answers.append(
            f"{budget:g} FLOPs (at {number(cost)} N D) are best spent on N = {number(found.num_parameters)} and "
            f"D = {number(found.num_data)}: loss {number(found.loss)}."
        )
        report.facts[f"optimum_for_{budget:g}"] = found._asdict()


def draw(reports: Sequence[Report], out: Path, options: argparse.Namespace) -> list[Path]:
    """The figures."""
    from dielectric_gnn.scaling.pictures import curves_figure, map_figure, save

    paths: list[Path] = []
    curves: dict[str, list[Comparison]] = {}
    for place, report in enumerate(reports):
        best = report.comparison.best
        if len(best.points.variables) == 1:
            curves.setdefault(best.points.variables[0], []).append(report.comparison)
        else:
            paths += save(map_figure(best, options.metric), out / f"map_{place}")
    for name, comparisons in curves.items():
        bands = [bootstrap(c.best, options.draws) if has_seeds(c.best.points) else [] for c in comparisons]
        paths += save(curves_figure(comparisons, bands, options.metric), out / f"scaling_in_{name}")
    return paths


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", type=Path, help="a folder with run records, or a CSV")
    add("--metric", default=VALIDATION, help="of run records, such as test/loss (default: %(default)s)")
    add("--axis", choices=["N", "D", "ND"], help="what the law is in (default: what varies)")
    add("--mode", choices=["robust", "published"], default="robust", help="of the fit (default: %(default)s)")
    add("--laws", nargs="+", choices=list(SIMPLE), help="in one variable (default: all)")
    add("--breaks", type=int, default=0, metavar="N", help="compare the general broken law with N breaks, too")
    add("--level", type=float, default=0.9, help="of the intervals (default: %(default)s)")
    add("--draws", type=int, default=200, help="of the bootstrap (default: %(default)s)")
    add("--target", type=float, nargs="+", metavar="LOSS", help="how much data, or how large a model, a loss needs")
    add("--budget", type=float, nargs="+", metavar="FLOPS", help="best N and D of one training")
    add("--flops-per-parameter-and-datum", type=float, metavar="C", help="FLOPs = C N D (default: from the records)")
    add("--epochs", type=int, default=500, help="for C = 6 epochs, where records state no FLOPs (default: %(default)s)")
    add("--out", type=Path, default=Path("runs/scaling"), help="folder of the results (default: %(default)s)")
    add("--no-figures", action="store_true", help="leave out the pictures")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Fit, print and write."""
    options = parsed(words)
    try:
        reports = read_reports(options)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    console = Console()
    for report in reports:
        table = Table(*HEADER, title=report.title, title_justify="left")
        for row in report.rows():
            table.add_row(*row)
        console.print(table)
        console.print(f"Verdict: {report.comparison.verdict}.")
        for line in (*report.answers, *(f"left out: {remark}" for remark in report.comparison.remarks)):
            console.print(f"- {line}", highlight=False)
    texts = {"report.md": markdown, "fits.csv": comma_separated, "fits.tex": latex, "fits.json": as_json}
    for name, make in texts.items():
        write_text(options.out / name, make(reports))
    if not options.no_figures:
        draw(reports, options.out, options)
    console.print(f"Tables and figures are in {options.out}/")


if __name__ == "__main__":
    main()
