"""Figure of a law in N and D: its map with the misfit of the runs, and losses at constant budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.compute import Cost, optimal_log_n, training_cost
from dielectric_gnn.scaling.figures import AXIS_LABELS, without_math
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUM_BUDGETS = 5


def map_figure(analysis: GroupAnalysis, metric: str = "loss") -> Figure:
    """Contours of a law in N and D with the misfit of the runs, and its profiles at constant compute.

    On the left, markers show the runs, coloured by measured over predicted loss; held-out sizes have a black edge. The
    black line is the compute-optimal N and D, and grey lines are those of constant compute (isoFLOP lines). On the
    right is the loss along these lines against N, with the optimum marked. Without known costs, compute is N D.

    Args:
        analysis: A group in N and D.
        metric: Name of the loss.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    cost = training_cost(analysis.data) or Cost(1.0)
    products = _log_products(analysis.law, cost)
    _draw_map(figure, left, analysis, metric)
    _draw_isoflop_lines(left, analysis.law, cost, products)
    _draw_profiles(right, analysis.law, cost, products, metric)
    return figure


def _log_products(best: Fit, cost: Cost) -> FloatArray:
    """ln(N^β D) of a few budgets, within those of the runs."""
    products = cost.exponent * best.points.logs[:, 0] + best.points.logs[:, 1]
    low, high = np.quantile(products, [0.05, 0.98])
    return np.linspace(low, high, _NUM_BUDGETS)


def _draw_map(figure: Figure, axes: Axes, analysis: GroupAnalysis, metric: str) -> None:
    best, sizes = analysis.law, analysis.law.points.sizes
    d, n = (np.geomspace(sizes[:, i].min() / 2, sizes[:, i].max() * 2, 80) for i in (1, 0))
    grid_d, grid_n = np.meshgrid(d, n)
    levels = axes.contourf(grid_d, grid_n, best.loss(grid_n, grid_d), levels=16, cmap="viridis")
    misfit = 100.0 * np.expm1(best.samples.y - best.law.log_loss(best.theta, best.samples.x))
    largest = max(float(np.quantile(np.abs(misfit), 0.95)), 1e-3)
    held = analysis.held_out
    edges = [
        "black" if held is not None and (size == held.sizes).all(axis=1).any() else "white"
        for size in np.exp(best.samples.x)
    ]
    n_run, d_run = np.exp(best.samples.x).T
    marks = axes.scatter(d_run, n_run, s=34, c=misfit, cmap="coolwarm", vmin=-largest, vmax=largest, edgecolor=edges)
    axes.set(xscale="log", yscale="log", xlabel=AXIS_LABELS["D"], ylabel=AXIS_LABELS["N"])
    axes.set(xlim=(d[0], d[-1]), ylim=(n[0], n[-1]), title=without_math(f"{analysis.data.title}: {best.law.name}"))
    figure.colorbar(levels, label=without_math(metric.replace("_", " ")))
    figure.colorbar(marks, label="measured over predicted loss − 1 (%)")


def _draw_isoflop_lines(axes: Axes, best: Fit, cost: Cost, products: FloatArray) -> None:
    low, high = np.log(axes.get_ylim())
    log_n = np.linspace(low, high, 100)
    for product in products:
        axes.plot(np.exp(product - cost.exponent * log_n), np.exp(log_n), color="0.8", lw=0.8)
    wide = np.linspace(products[0] - 4.0, products[-1] + 4.0, 60)
    optimum = np.array([optimal_log_n(best.law, best.theta[None], one, cost.exponent)[0] for one in wide])
    axes.plot(np.exp(wide - cost.exponent * optimum), np.exp(optimum), color="black", lw=1.8, label="compute-optimal")
    axes.legend(frameon=True, fontsize="small", loc="upper left")


def _draw_profiles(axes: Axes, best: Fit, cost: Cost, products: FloatArray, metric: str) -> None:
    """Loss against N at constant budgets; runs within a factor of 1.5 of a budget are shown with it."""
    import matplotlib

    colours = matplotlib.colormaps["plasma"](np.linspace(0.05, 0.85, products.size))
    logs, y = best.samples.x, best.samples.y
    log_n = np.linspace(logs[:, 0].min() - 0.7, logs[:, 0].max() + 0.7, 120)
    for product, colour in zip(products, colours, strict=True):
        loss = best.law.log_loss(best.theta, np.stack([log_n, product - cost.exponent * log_n], axis=1))
        within = product - cost.exponent * log_n >= logs[:, 1].min() - 0.7
        flops = cost.coefficient * np.exp(product)
        label = f"{flops:.1e} FLOPs" if cost.coefficient != 1.0 else f"N D = {flops:.1e}"
        axes.plot(np.exp(log_n[within]), np.exp(loss[within]), color=colour, lw=1.2, label=label)
        near = np.abs(cost.exponent * logs[:, 0] + logs[:, 1] - product) < np.log(1.5)
        axes.plot(np.exp(logs[near, 0]), np.exp(y[near]), "o", ms=3, color=colour, alpha=0.7)
        optimum = optimal_log_n(best.law, best.theta[None], product, cost.exponent)[0]
        place = np.array([[optimum, product - cost.exponent * optimum]])
        axes.plot(np.exp(optimum), np.exp(best.law.log_loss(best.theta, place)), "k*", ms=9)
    axes.set(xscale="log", xlabel=AXIS_LABELS["N"], title="constant compute; star: optimum")
    axes.set_ylabel(metric.replace("_", " "), parse_math=False)
    axes.set_xlim(np.exp(log_n[0]), np.exp(log_n[-1]))
    axes.legend(frameon=False, fontsize="small")
