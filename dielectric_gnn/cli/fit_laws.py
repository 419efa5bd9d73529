r"""Fit neural scaling laws to run records or a CSV file, compare them, and derive what follows from them.

    dielectric-gnn fit-laws runs/laptop                          # every run_record.json below the folder
    dielectric-gnn fit-laws losses.csv --target 0.4              # columns loss, D (or N, or both), seed
    dielectric-gnn fit-laws runs/grid --budget 1e18              # best N and D for a number of FLOPs
    dielectric-gnn fit-laws losses.csv --mode published          # the method of arXiv:2602.05702

One variable: power (x0/x)^a, the same with a floor, broken A (xc/x)^a2 (1 + xc/x)^(a1 - a2) with the exponents a1
before and a2 after xc, the same without amplitude (--laws), and the general broken law (--breaks). N and D together:
Kaplan- and Hoffmann-style forms, plain and broken in the data. docs/scaling.md explains modes, intervals and the
verdict. Results are printed and written to --out: report.md, fits.csv, hold_out.csv, regimes.csv, fits.tex,
fits.json, and figures as PNG and PDF.

In Python: dielectric_gnn.scaling.fit("runs/laptop").verdict
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dielectric_gnn import scaling
from dielectric_gnn.cli.function_parser import parse_words
from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.holdout_report import hold_out_csv, hold_out_header, hold_out_rows
from dielectric_gnn.scaling.latex import latex
from dielectric_gnn.scaling.report import (
    LAWS,
    REGIMES,
    findings_and_remarks,
    fits_csv,
    law_rows,
    markdown,
    parameter_header,
    parameter_rows,
    regime_rows,
    regimes_csv,
    sensitivity_rows,
    to_json,
)
from dielectric_gnn.scaling.sensitivity import sensitivity_header
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.locks import locked
from dielectric_gnn.utils.text import printable

_PROG = "dielectric-gnn fit-laws"


def main(words: Sequence[str] | None = None) -> None:
    """Fit, print and write.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """
    command(lambda: fit_laws(**parse_words(fit_laws, words, _PROG, __doc__, keyword_options=scaling.fit)))


def fit_laws(source: Path, out: Path = Path("runs/scaling"), no_figures: bool = False, **options: Any) -> None:
    """Fit laws, print tables and write all results.

    Args:
        source: A folder with run records, or a CSV file.
        out: Folder of the results.
        no_figures: Write no figures.
        options: Options of `dielectric_gnn.scaling.fit`.
    """
    _check_writable(out)
    with locked(out, _PROG), _log_to_stderr():
        fits = scaling.fit(source, **options)
        _write(fits, out, {"source": str(source), **options, "out": str(out), "no_figures": no_figures})
        if not no_figures:
            _write_figures(fits, out)
    for analysis in fits.groups:
        _print_analysis(analysis)
    print(f"Tables and figures are in {out}/")


def _check_writable(out: Path) -> None:
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"--out {out}: {place} is {'not writable' if place.is_dir() else 'a file'}; name a folder")


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Print remarks and progress of the fits as plain lines on standard error."""
    logger, handler = logging.getLogger(scaling.__name__), logging.StreamHandler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _write(fits: scaling.ScalingFits, out: Path, options: Mapping[str, Any]) -> None:
    """Write all tables."""
    texts = {
        "report.md": markdown(fits.groups),
        "fits.csv": fits_csv(fits.groups),
        "fits.tex": latex(fits.groups),
        "hold_out.csv": hold_out_csv(fits.groups),
        "fits.json": to_json(fits.groups, fits.metric, options),
    }
    if any(analysis.regimes for analysis in fits.groups):
        texts["regimes.csv"] = regimes_csv(fits.groups)
    for name, text in texts.items():
        write_text(out / name, text)


def _write_figures(fits: scaling.ScalingFits, out: Path) -> None:
    from dielectric_gnn.scaling.figures import save

    for name in fits.figure_names():
        save(fits.figure(name), out / name)


def _print_analysis(analysis: GroupAnalysis) -> None:
    """Print tables, verdict, findings and remarks of one group."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    tables = [
        (analysis.title, LAWS, law_rows(analysis)),
        ("", parameter_header(analysis), parameter_rows(analysis)),
    ]
    if analysis.held_out:
        tables.append(("", hold_out_header(analysis), hold_out_rows(analysis)))
    if analysis.sensitivity:
        tables.append(("", sensitivity_header(analysis.sensitivity), sensitivity_rows(analysis)))
    if analysis.regimes:
        tables.append(("", REGIMES, regime_rows(analysis)))
    for title, header, rows in tables:
        table = Table(*header, title=Text(printable(title)) if title else None, title_justify="left")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        console.print(table)
    console.print(f"Verdict: {analysis.verdict}.", markup=False)
    for line in findings_and_remarks(analysis):
        console.print(f"- {printable(line)}", highlight=False, markup=False)
