"""Figures of scaling laws: losses, fits, bands and local exponents; contour maps of laws in N and D."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.derived import local_exponent
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf")
_AXIS_LABELS = {"D": "training materials D", "N": "parameters N", "x": "x"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def curves_figure(analyses: Sequence[GroupAnalysis], metric: str = "loss") -> Figure:
    """Losses with the best law of each group and its band; the local exponent in a second panel.

    Args:
        analyses: One per group, all in the same variable; bands have the level of their intervals.
        metric: Name of the loss.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for analysis, colour in zip(analyses, _COLOURS * len(analyses), strict=False):
        best, outliers = analysis.law, analysis.comparison.outliers
        sizes = best.points.sizes[:, 0]
        x = np.geomspace(sizes.min() / 1.5, sizes.max() * 3.0, 200)
        upper.plot(np.exp(best.points.logs[:, 0]), np.exp(best.points.log_loss), "o", ms=4, color=colour, alpha=0.7)
        where = [run.values[best.points.variables[0]] for run, _ in outliers]
        upper.plot(where, [run.loss for run, _ in outliers], "x", color=colour)
        upper.plot(x, best.loss(x), color=colour, label=_without_math(f"{best.points.title}: {best.law.name}"))
        if len(draws := analysis.draws[best.law.name]):
            ends = (1 - analysis.level) / 2, (1 + analysis.level) / 2
            low, high = np.quantile(np.exp(best.law.log_loss(draws, np.log(x)[:, None])), ends, axis=0)
            upper.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        lower.plot(x, local_exponent(best, x), color=colour)
        for place in (best.parameters[name] for name in best.law.breaks):
            if x[0] <= place <= x[-1]:
                for axes in (upper, lower):
                    axes.axvline(place, color=colour, ls=":", lw=1)
    _logarithmic(upper)
    upper.set_ylabel(metric.replace("_", " "), parse_math=False)
    upper.legend(frameon=False, fontsize="small")
    lower.set_ylabel("local exponent")
    lower.set_xlabel(_AXIS_LABELS.get(analyses[0].data.variables[0], "x"))
    return figure


def map_figure(best: Fit, metric: str = "loss") -> Figure:
    """Contours of a law in N and D, and the runs coloured by their measured loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    sizes = best.points.sizes
    d, n = (np.geomspace(sizes[:, i].min() / 2, sizes[:, i].max() * 2, 80) for i in (1, 0))
    grid_d, grid_n = np.meshgrid(d, n)
    levels = axes.contourf(grid_d, grid_n, best.loss(grid_n, grid_d), levels=16, cmap="viridis")
    mean = np.array([losses.mean() for losses in best.points.losses_by_size])
    axes.scatter(sizes[:, 1], sizes[:, 0], c=mean, cmap="viridis", edgecolor="white", s=60).set_clim(*levels.get_clim())
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=_AXIS_LABELS["D"],
        ylabel=_AXIS_LABELS["N"],
        title=_without_math(f"{best.points.title}: {best.law.name}"),
    )
    figure.colorbar(levels, label=_without_math(metric.replace("_", " ")))
    return figure


def _without_math(text: str) -> str:
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
