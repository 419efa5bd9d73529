"""Figure of a law with repeated data: what the epochs of a training are worth in fresh data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.figures import without_math
from dielectric_gnn.scaling.repeats import effective_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def repeats_figure(analysis: GroupAnalysis) -> Figure:
    """Effective data per unique material against epochs, by every plausible law with its band.

    The dashed line is that of fresh data, and the dotted line the largest number of epochs of the runs.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    axes = figure.subplots()
    most = float(analysis.data.values[:, -1].max())
    epochs = np.geomspace(1.0, 3.0 * most, 200)
    axes.plot(epochs, epochs, "k--", lw=1, label="fresh data")
    for one in analysis.comparison.plausible:
        if "RD" not in one.parameters:
            continue
        (line,) = axes.plot(epochs, effective_data(one.parameters["RD"], epochs), label=without_math(one.law.name))
        interval = analysis.profiles[one.law.name]["RD"]
        low, high = (effective_data(np.clip(end, 1e-2, 1e6), epochs) for end in (interval.low, interval.high))
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.18, lw=0)
    axes.axvline(most, color="0.5", ls=":", lw=1)
    axes.set(xscale="log", yscale="log", xlabel="epochs", title=without_math(analysis.data.title))
    axes.set_ylabel("effective data D' / D")
    axes.legend(frameon=False, fontsize="small")
    return figure
