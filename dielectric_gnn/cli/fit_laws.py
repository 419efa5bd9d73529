r"""Fit neural scaling laws to run records or a CSV, compare them, and answer what they imply.

    dielectric-gnn fit-laws runs/laptop                          # every run_record.json below the folder
    dielectric-gnn fit-laws losses.csv --target 0.4              # columns loss, D (or N, or both), seed
    dielectric-gnn fit-laws runs/grid --budget 1e18              # best N and D for so many FLOPs
    dielectric-gnn fit-laws losses.csv --mode published          # as arXiv:2602.05702 fitted

One variable: power (x0/x)^a, the same with a floor, broken (xc/x)^a2 (1 + xc/x)^(a1 - a2) with the exponents a1 before
and a2 after xc, the same with an amplitude, and the general broken law (--breaks). N and D together: Kaplan- and
Hoffmann-style forms, plain and broken in the data. docs/scaling.md explains modes, intervals and the verdict. Results
go to the terminal and to --out: report.md, fits.csv, regimes.csv, fits.tex, fits.json, and figures as PNG and PDF.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dielectric_gnn.scaling.analysis import Analysis, Request, analyse
from dielectric_gnn.scaling.latex import latex
from dielectric_gnn.scaling.laws import BROKEN, BROKEN_AMPLITUDE, POWER, POWER_FLOOR, general_broken
from dielectric_gnn.scaling.points import VALIDATION, Points, Run, grouped, read_table, runs_of
from dielectric_gnn.scaling.report import (
    LAWS,
    REGIMES,
    as_json,
    comma_separated,
    law_rows,
    markdown,
    parameter_header,
    parameter_rows,
    regime_rows,
    regimes_table,
    spoken,
)
from dielectric_gnn.scaling.surfaces import Cost
from dielectric_gnn.training.run_record import read_records
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import user_path, write_text
from dielectric_gnn.utils.locks import locked
from dielectric_gnn.utils.text import printable

SIMPLE = {law.name: law for law in (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)}
_HIGHER_IS_BETTER = ("r2", "sc")
"""Metrics that begin so grow as a network learns."""
_FEWEST_DRAWS = 10


def check(options: argparse.Namespace) -> None:
    """Refuse options that no fit can follow, before any is made."""

    def expect(fine: bool, name: str, value: object, expected: str) -> None:
        if not fine:
            raise InputError(f"--{name} is {value}, expected {expected}")

    expect(0 < options.level < 1, "level", options.level, "a number between 0 and 1, such as 0.9")
    expect(options.draws >= _FEWEST_DRAWS, "draws", options.draws, f"a whole number, {_FEWEST_DRAWS} at least")
    expect(options.breaks >= 0, "breaks", options.breaks, "0 or more")
    expect(options.epochs >= 1, "epochs", options.epochs, "1 or more")
    cost = options.flops_per_parameter_and_datum
    for name, values in (
        ("target", options.target),
        ("budget", options.budget),
        ("flops-per-parameter-and-datum", [cost]),
    ):
        for value in values or ():
            expect(value is None or (0 < value < math.inf), name, value, "more than 0")
    if options.metric and options.metric.rpartition("/")[2].startswith(_HIGHER_IS_BETTER):
        raise InputError(
            f"--metric {options.metric} is the better the higher it is, and scaling laws fall; give an error or "
            "a loss, such as test/loss or test/mae"
        )
    place = next(folder for folder in (options.out, *options.out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(
            f"--out {options.out}: {place} is {'not writable' if place.is_dir() else 'a file'}; name a folder"
        )


def read(options: argparse.Namespace) -> list[Run]:
    """Runs of a folder of records, or of a CSV."""
    path: Path = options.source
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a folder with run records, or a CSV")
    if path.is_file():
        if options.metric:
            sys.stderr.write(f"--metric {options.metric} has no effect: the column `loss` of {path} is fitted\n")
        runs, remarks = read_table(path)
    else:
        runs, remarks = runs_of(read_records(path), options.metric or VALIDATION)
    for remark in remarks:
        sys.stderr.write(f"{remark}\n")
    if not runs:
        raise InputError(
            f"{path}: none of its {len(remarks)} runs is finished on one set of materials; wait for them, or repeat "
            "the study's command"
        )
    return runs


def request_of(options: argparse.Namespace) -> Request:
    """What is asked of each group."""
    chosen = [SIMPLE[name] for name in options.laws] if options.laws else list(SIMPLE.values())
    general = [general_broken(options.breaks)] if options.breaks else []
    cost = options.flops_per_parameter_and_datum
    return Request(
        [*chosen, *general],
        options.mode,
        options.level,
        options.draws,
        options.target or (),
        options.budget or (),
        Cost(cost) if cost else None,
        options.epochs,
    )


def analyses_of(options: argparse.Namespace) -> list[Analysis]:
    """One analysis for each group that can be fitted; the others are named on stderr.

    Raises:
        InputError: None can be fitted.
    """
    analyses: list[Analysis] = []
    refused: list[InputError] = []
    groups = grouped(read(options), options.axis)
    if (options.laws or options.breaks) and any(len(data.variables) == 2 for data in groups):
        sys.stderr.write("--laws and --breaks have no effect on runs that vary N and D: all four laws are compared\n")
    for data in announced(groups):
        try:
            analyses.append(analyse(data, request_of(options)))
        except InputError as error:
            refused.append(error)
    if not analyses:
        raise refused[0]
    for reason in refused:
        sys.stderr.write(f"left out: {reason}\n")
    return analyses


def announced(groups: Sequence[Points]) -> Iterator[Points]:
    """The groups, with a bar on a terminal and a line for each elsewhere, on stderr."""
    from rich.console import Console
    from rich.progress import track

    if sys.stderr.isatty():
        yield from track(groups, "fitting", console=Console(stderr=True), transient=True)
        return
    for place, data in enumerate(groups, start=1):
        sys.stderr.write(f"fitting {data.title} ({place} of {len(groups)})\n")
        yield data


def draw(analyses: Sequence[Analysis], out: Path, metric: str) -> None:
    """The figures."""
    from dielectric_gnn.scaling.figures import curves_figure, map_figure, save

    curves: dict[str, list[Analysis]] = {}
    for place, analysis in enumerate(analyses):
        if len(analysis.data.variables) == 1:
            curves.setdefault(analysis.data.variables[0], []).append(analysis)
        else:
            save(map_figure(analysis.comparison.best, metric), out / f"map_{place}")
    for name, group in curves.items():
        save(curves_figure(group, metric), out / f"scaling_in_{name}")


def show(analyses: Sequence[Analysis]) -> None:
    """Everything on the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for analysis in analyses:
        tables = [
            (analysis.title, LAWS, law_rows(analysis)),
            ("", parameter_header(analysis), parameter_rows(analysis)),
        ]
        if analysis.regimes:
            tables.append(("", REGIMES, regime_rows(analysis)))
        for title, header, rows in tables:
            table = Table(*header, title=Text(printable(title)) if title else None, title_justify="left")
            for row in rows:
                table.add_row(*(Text(printable(cell)) for cell in row))
            console.print(table)
        console.print(f"Verdict: {analysis.comparison.verdict}.", markup=False)
        for line in spoken(analysis):
            console.print(f"- {printable(line)}", highlight=False, markup=False)


def write(analyses: Sequence[Analysis], options: argparse.Namespace) -> None:
    """Tables and figures."""
    metric = "loss" if options.source.is_file() else options.metric or VALIDATION
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    texts = {
        "report.md": markdown(analyses),
        "fits.csv": comma_separated(analyses),
        "fits.tex": latex(analyses),
        "fits.json": as_json(analyses, metric, plain),
    }
    if any(analysis.regimes for analysis in analyses):
        texts["regimes.csv"] = regimes_table(analyses)
    for name, text in texts.items():
        write_text(options.out / name, text)
    if not options.no_figures:
        draw(analyses, options.out, metric)


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="dielectric-gnn fit-laws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", type=user_path, help="a folder with run records, or a CSV")
    add("--metric", help=f"of run records, such as test/loss (default: {VALIDATION})")
    add("--axis", choices=["N", "D", "ND"], help="what the law is in (default: what varies)")
    add("--mode", choices=["robust", "published"], default="robust", help="of the fit (default: %(default)s)")
    add("--laws", nargs="+", choices=list(SIMPLE), help="in one variable (default: all)")
    add("--breaks", type=int, default=0, metavar="N", help="compare the general broken law with N breaks, too")
    add("--level", type=float, default=0.9, help="of intervals and bands (default: %(default)s)")
    add("--draws", type=int, default=200, help="of the bootstrap (default: %(default)s)")
    add("--target", type=float, nargs="+", metavar="LOSS", help="how much data, or how large a model, a loss needs")
    add("--budget", type=float, nargs="+", metavar="FLOPS", help="best N and D of one training")
    add("--flops-per-parameter-and-datum", type=float, metavar="C", help="FLOPs = C N D (default: from the records)")
    add("--epochs", type=int, default=500, help="for C = 6 epochs, where records state no FLOPs (default: %(default)s)")
    add("--out", type=user_path, default=Path("runs/scaling"), help="folder of the results (default: %(default)s)")
    add("--no-figures", action="store_true", help="leave out the pictures")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Fit, print and write."""
    command(lambda: fit(parsed(words)))


def fit(options: argparse.Namespace) -> None:
    """Do what the options say."""
    check(options)
    with locked(options.out, "fit_scaling_laws.py"):
        analyses = analyses_of(options)
        write(analyses, options)
    show(analyses)
    print(f"Tables and figures are in {options.out}/")
