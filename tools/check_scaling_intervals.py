r"""Check coverage of the intervals and reliability of the verdict: fits of synthetic losses from known laws.

    python tools/check_scaling_intervals.py --draws 200
    python tools/check_scaling_intervals.py --draws 20 --hold-out

Eight sizes from 2,500 to 320,000, three seeds. The noise is independent (1 %), heteroscedastic (2 % at the smallest
size, 0.5 % at the largest), of Student's t distribution with three degrees of freedom (1 %), or shared by the seeds
of a size (1 %, and 0.5 % of each seed). For a power law, one with a floor, and a broken one: the share of draws whose
intervals contain each true parameter and the size that a loss beyond the runs requires, and that of each verdict. For
a law in N and D: the same for the optimum of a budget. A decisive break in the data of another law is a false one.
With --hold-out: the share of held-out means that the 90 % band of the average of the laws contains, without 1 to 4
sizes, and the median width of the band in ln L at the largest size.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds, so that Ctrl-C ends them without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from dielectric_gnn.scaling.comparison import compare
from dielectric_gnn.scaling.compute import optimal_log_n
from dielectric_gnn.scaling.derived import required_size
from dielectric_gnn.scaling.fitting import Fit, fit
from dielectric_gnn.scaling.holdout import hold_out
from dielectric_gnn.scaling.intervals import minimises, predicts, profile_interval, profile_intervals, reaches
from dielectric_gnn.scaling.laws import BROKEN_AMPLITUDE, POWER, POWER_FLOOR, UNIT_FREE_CURVES, FloatArray, Law
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.surfaces import SURFACES
from dielectric_gnn.utils.entry import command

SIZES = 2500.0 * 2.0 ** np.arange(8)
WIDTHS = 1e5 * 4.0 ** np.arange(6)
SEEDS = (1, 42, 137)
TRUTHS: dict[str, tuple[Law, FloatArray]] = {
    "power": (POWER, np.array([0.23, 4.29])),
    "saturating": (POWER_FLOOR, np.array([0.5, 4.0, 0.3])),
    "broken": (BROKEN_AMPLITUDE, np.array([0.15, 0.5, 4.5, 0.0])),
}
SURFACE = (SURFACES["hoffmann"], np.array([0.35, 4.5, 0.3, 3.5, 0.2]))
LOG_BUDGET = float(np.log(WIDTHS[-1] * SIZES[-1]))
NOISES = ("independent", "heteroscedastic", "t3", "shared")


def noise(kind: str, sizes: int, rng: np.random.Generator) -> FloatArray:
    """Deviations of ln L, (sizes, seeds)."""
    normal = rng.standard_normal((sizes, len(SEEDS)))
    if kind == "heteroscedastic":
        return np.geomspace(0.02, 0.005, sizes)[:, None] * normal
    if kind == "t3":
        return 0.01 / np.sqrt(3.0) * rng.standard_t(3, normal.shape)
    if kind == "shared":
        return 0.005 * normal + 0.01 * rng.standard_normal((sizes, 1))
    return 0.01 * normal


def draws(law: Law, theta: FloatArray, number: int, kind: str, seed: int = 0) -> Iterator[Points]:
    """Draws of losses of a law in D, or in N and D."""
    grid = [SIZES] if len(law.variables) == 1 else [axis.ravel() for axis in np.meshgrid(WIDTHS, SIZES)]
    names = ("D",) if len(grid) == 1 else ("N", "D")
    rng = np.random.default_rng(seed)
    for _ in range(number):
        losses = law.loss(theta, *grid)[:, None] * np.exp(noise(kind, grid[0].size, rng))
        runs = [
            Run("run", "", dict(zip(names, map(float, size), strict=True)), float(loss), seed)
            for size, row in zip(zip(*grid, strict=True), losses, strict=True)
            for seed, loss in zip(SEEDS, row, strict=True)
        ]
        yield Points("synthetic", names, tuple(runs))


class Tally:
    """Counts of draws.

    Attributes:
        number: Number of draws.
        hits: Number of draws whose interval contains the true value, by quantity.
        verdicts: Number of draws by verdict; None is undecided.
    """

    def __init__(self) -> None:
        self.number = 0
        self.hits: Counter[str] = Counter()
        self.verdicts: Counter[str | None] = Counter()

    def share(self, quantity: str) -> float:
        """Share of draws whose interval contains a quantity."""
        return self.hits[quantity] / self.number

    def verdict_share(self, shape: str | None) -> float:
        """Share of draws of a verdict."""
        return self.verdicts[shape] / self.number


def tally(truth: str, kind: str, number: int, level: float = 0.9) -> Tally:
    """Coverage and verdicts for a law in one variable."""
    law, theta = TRUTHS[truth]
    known, beyond = law.parameters_by_name(theta), 3.0 * float(SIZES[-1])
    found = Tally()
    for data in draws(law, theta, number, kind):
        comparison = compare(UNIT_FREE_CURVES, data)
        fitted = next(one for one in comparison.fits if one.law is law)
        for name, interval in profile_intervals(fitted, level).items():
            found.hits[name] += known[name] in interval
        found.hits["data needed"] += _contains_size(fitted, float(law.loss(theta, beyond)), beyond, level)
        found.verdicts[comparison.shape] += 1
        found.number += 1
    return found


def _contains_size(fitted: Fit, target: float, size: float, level: float) -> bool:
    """Whether the interval of the size that a loss requires contains the true size."""
    value = required_size(fitted, target)
    if np.isfinite(value):
        constraint = reaches(fitted.law, target)
        return float(np.log(size)) in profile_interval(fitted, constraint, float(np.log(value)), level)
    # The fitted law never has that loss: then the interval contains the size if the law may have the loss there.
    place = np.log([size])
    predicted = float(fitted.law.log_loss(fitted.theta, place[None])[0])
    return float(np.log(target)) in profile_interval(fitted, predicts(fitted.law, place), predicted, level)


def tally_optimum(kind: str, number: int, level: float = 0.9) -> Tally:
    """Coverage for a law in N and D: parameters and the compute-optimal N."""
    law, theta = SURFACE
    known, best = law.parameters_by_name(theta), float(optimal_log_n(law, theta[None], LOG_BUDGET, 1.0)[0])
    found = Tally()
    for data in draws(law, theta, number, kind):
        fitted = fit(law, data)
        for name, interval in profile_intervals(fitted, level).items():
            found.hits[name] += known[name] in interval
        value = float(optimal_log_n(law, fitted.theta[None], LOG_BUDGET, 1.0)[0])
        found.hits["optimum"] += best in profile_interval(fitted, minimises(law, LOG_BUDGET, 1.0), value, level)
        found.number += 1
    return found


def tally_hold_out(truth: str, kind: str, number: int, held: int) -> tuple[float, float]:
    """Share of the held-out means within the band of the average, and median width in ln L at the largest size."""
    inside, widths = 0, []
    for data in draws(*TRUTHS[truth], number, kind):
        found = hold_out(UNIT_FREE_CURVES, data, number=held)
        if found is None:
            raise RuntimeError(f"{len(SIZES)} sizes without {held} are too few")
        average = found.predictions[-1]
        inside += found.inside(average)
        widths.append(float(np.log(average.high[-1] / average.low[-1])))
    return inside / number / held, float(np.median(widths))


def main(words: Sequence[str] | None = None) -> None:
    """Draw, fit and print the table."""
    command(lambda: check(words))


def check(words: Sequence[str] | None) -> None:
    """Parse the command line, draw, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="number of draws of each row (default: %(default)s)")
    parser.add_argument("--hold-out", action="store_true", help="check the bands of held-out sizes")
    options = parser.parse_args(words)
    if options.hold_out:
        _print_hold_out(options.draws)
        return
    print("| law | noise | 90 % intervals contain the true value | verdicts |\n| --- | --- | --- | --- |")
    for truth in TRUTHS:
        for kind in NOISES:
            _print_row(truth, kind, tally(truth, kind, options.draws))
    for kind in NOISES:
        _print_row(SURFACE[0].name, kind, tally_optimum(kind, options.draws))


def _print_hold_out(number: int) -> None:
    print("| law | noise | without 1 size | 2 | 3 | 4 |\n| --- | --- | --- | --- | --- | --- |")
    for truth in TRUTHS:
        for kind in NOISES:
            found = [tally_hold_out(truth, kind, number, held) for held in (1, 2, 3, 4)]
            cells = " | ".join(f"{100 * share:.0f} % ({width:.2f})" for share, width in found)
            print(f"| {truth} | {kind} | {cells} |", flush=True)


def _print_row(truth: str, kind: str, found: Tally) -> None:
    shares = ", ".join(f"{name} {100 * found.share(name):.1f} %" for name in found.hits)
    verdicts = ", ".join(
        f"{shape or 'undecided'} {100 * found.verdict_share(shape):.1f} %" for shape, _ in found.verdicts.most_common()
    )
    print(f"| {truth} | {kind} | {shares} | {verdicts or '–'} |", flush=True)


if __name__ == "__main__":
    main()
