"""Figures of laws in one variable: losses, fits, bands, held-out sizes and local exponents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.derived import local_exponent
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.holdout import AVERAGE
from dielectric_gnn.scaling.laws import FloatArray
from dielectric_gnn.utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf")
AXIS_LABELS = {"D": "training materials D", "N": "parameters N", "x": "x"}
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#332288", "#882255", "#44aa99", "#999933", "#661100", "#777777"),
)
_MARKERS = "osD^vP*X<>hd"
_RIVAL_DASHES = ((1, 1), (3, 1, 1, 1), (5, 2), (1, 3))
_MAX_LEGEND_INSIDE = 6
"""Entries of a legend beside the data; more are shown below the figure."""


def curves_figure(analyses: Sequence[GroupAnalysis], metric: str = "loss") -> Figure:
    """Losses with the law of each group and its band; the local exponent in a second panel.

    A law is solid within the runs and dashed beyond. Where the data are undecided, the other plausible laws are shown
    as thin lines. Open markers with bars are held-out sizes with the prediction of the average of the laws.

    Args:
        analyses: One per group, all in the same variable; bands have the level of their intervals.
        metric: Name of the loss.
    """
    from matplotlib.figure import Figure

    entries = len(analyses) + sum(len(_rivals(analysis)) for analysis in analyses) + 1
    below = 0.22 * ((entries + 1) // 2) if entries > _MAX_LEGEND_INSIDE else 0.0
    figure = Figure(figsize=(6.8, 6.2 + below), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for place, analysis in enumerate(analyses):
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
        _draw_runs(upper, analysis, colour, marker)
        _draw_law(upper, lower, analysis, colour)
        _draw_rivals(upper, lower, analysis, colour)
        _draw_held_out(upper, analysis, colour, marker, labelled=place == 0)
        _draw_breaks(upper, lower, analysis, colour)
    _logarithmic(upper)
    upper.set_ylabel(metric.replace("_", " "), parse_math=False)
    if entries > _MAX_LEGEND_INSIDE:
        figure.legend(frameon=False, fontsize="x-small", loc="outside lower center", ncols=2)
    else:
        upper.legend(frameon=False, fontsize="small")
    lower.set_ylabel("local exponent")
    lower.set_xlabel(AXIS_LABELS.get(analyses[0].data.variables[0], "x"))
    lower.set_ylim(*_exponent_limits(analyses))
    return figure


def _rivals(analysis: GroupAnalysis) -> list[Fit]:
    """Plausible laws beside the followed one, if the data are undecided."""
    return analysis.comparison.plausible[1:] if analysis.comparison.shape is None else []


def _draw_runs(axes: Axes, analysis: GroupAnalysis, colour: str, marker: str) -> None:
    data, outliers = analysis.data, analysis.comparison.outliers
    axes.plot(np.exp(data.logs[:, 0]), np.exp(data.log_loss), marker, ms=4, color=colour, alpha=0.6)
    where = [run.values[data.variables[0]] for run, _ in outliers]
    axes.plot(where, [run.loss for run, _ in outliers], "x", color=colour)


def _draw_law(upper: Axes, lower: Axes, analysis: GroupAnalysis, colour: str) -> None:
    """The followed law with its band, and its local exponent."""
    best = analysis.law
    label = without_math(f"{analysis.data.title}: {best.law.name}")
    for x, style in _pieces(best):
        upper.plot(x, best.loss(x), style, color=colour, label=label if style == "-" else None)
        lower.plot(x, local_exponent(best, x), style, color=colour)
    x = np.concatenate([piece for piece, _ in _pieces(best)])
    with np.errstate(over="ignore"):
        losses = np.exp(best.law.log_loss(analysis.draws[best.law.name], np.log(x)[:, None]))
    low, high = np.quantile(losses, [(1 - analysis.level) / 2, (1 + analysis.level) / 2], axis=0)
    upper.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)


def _draw_rivals(upper: Axes, lower: Axes, analysis: GroupAnalysis, colour: str) -> None:
    for one, dashes in zip(_rivals(analysis), _RIVAL_DASHES, strict=False):
        x = np.concatenate([piece for piece, _ in _pieces(one)])
        label = without_math(f"{analysis.data.title}: {one.law.name}, within reach")
        upper.plot(x, one.loss(x), color=colour, lw=1, dashes=dashes, label=label)
        lower.plot(x, local_exponent(one, x), color=colour, lw=1, dashes=dashes)


def _draw_held_out(axes: Axes, analysis: GroupAnalysis, colour: str, marker: str, labelled: bool) -> None:
    """Measured means of the held-out sizes, and the band that the average of the laws without them predicts."""
    held = analysis.held_out
    if held is None:
        return
    average = next(one for one in held.predictions if one.law == AVERAGE)
    bars = np.stack([average.losses - average.low, average.high - average.losses]).clip(min=0.0)
    label = f"held-out size, {100 * held.level:g} % band of its prediction" if labelled else None
    x = held.sizes[:, 0]
    axes.errorbar(x, average.losses, bars, fmt="none", ecolor=colour, elinewidth=1, capsize=4, label=label)
    axes.plot(x, held.measured, marker, ms=8, mfc="none", mec=colour)


def _draw_breaks(upper: Axes, lower: Axes, analysis: GroupAnalysis, colour: str) -> None:
    """The breaks of the followed law as dotted lines, with their intervals as bands in the lower panel."""
    best = analysis.law
    low, high = best.points.sizes.min() / 1.5, best.points.sizes.max() * 3.0
    for name in best.law.breaks:
        place, interval = best.parameters[name], analysis.profiles[best.law.name][name]
        if low <= place <= high:
            upper.axvline(place, color=colour, ls=":", lw=1)
            lower.axvline(place, color=colour, ls=":", lw=1)
            lower.axvspan(max(interval.low, low), min(interval.high, high), color=colour, alpha=0.1, lw=0)


def _pieces(fitted: Fit) -> Iterator[tuple[FloatArray, str]]:
    """Sizes below, within and above the runs, and the style of the line."""
    low, high = fitted.points.sizes.min(), fitted.points.sizes.max()
    yield np.geomspace(low / 1.5, low, 20), "--"
    yield np.geomspace(low, high, 160), "-"
    yield np.geomspace(high, high * 3.0, 40), "--"


def _exponent_limits(analyses: Sequence[GroupAnalysis]) -> tuple[float, float]:
    """Limits of the lower panel: those of the followed laws, with a margin."""
    x = [np.concatenate([piece for piece, _ in _pieces(one.law)]) for one in analyses]
    values = np.concatenate([local_exponent(one.law, own) for one, own in zip(analyses, x, strict=True)])
    margin = 0.15 * float(np.ptp(values)) + 0.05
    return float(values.min()) - margin, float(values.max()) + margin


def without_math(text: str) -> str:
    """Text for a legend: dollar signs do not begin math mode, and a leading `_` does not hide the entry."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and PDF; returns their paths."""
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    for path in paths:
        write_atomically(path, partial(figure.savefig, dpi=200, format=path.suffix[1:]))
    return paths


def _logarithmic(axes: Axes) -> None:
    """Make both axes logarithmic, with at least two plain numbers as tick labels even for a small range of losses."""
    from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

    axes.set(xscale="log", yscale="log")
    low, high = axes.get_ylim()
    locator = LogLocator(subs=(1, 2, 3, 5))
    if sum(low <= tick <= high for tick in locator.tick_values(low, high)) < 3:
        axes.yaxis.set_major_locator(FixedLocator([t for t in MaxNLocator(5).tick_values(low, high) if t > 0]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(low, high)
    else:
        axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter("")
