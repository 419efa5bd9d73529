r"""Check coverage of the intervals and reliability of the verdict: fits of synthetic losses from known laws.

    python tools/check_scaling_intervals.py --draws 200

Seven sizes from 2,500 to 160,000, three seeds, 1 % noise. For the broken law: the share of draws whose intervals
contain the true exponents and break. For a power law, one with a floor, and a broken one: the share of each verdict.
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
from dielectric_gnn.scaling.fitting import fit
from dielectric_gnn.scaling.intervals import profile_intervals
from dielectric_gnn.scaling.laws import BROKEN, BROKEN_AMPLITUDE, POWER, POWER_FLOOR, FloatArray, Law
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.utils.entry import command

SIZES = 2500.0 * 2.0 ** np.arange(7)
SEEDS = (1, 42, 137)
LAWS = (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)
TRUTHS = {
    "power": (POWER, np.array([0.23, 4.29])),
    "saturating": (POWER_FLOOR, np.array([0.5, 4.0, 0.3])),
    "broken": (BROKEN, np.array([0.15, 0.42, 4.72])),
}


def draws(law: Law, theta: FloatArray, number: int, noise: float) -> Iterator[Points]:
    """Draws of losses of a law with relative noise."""
    rng = np.random.default_rng(0)
    for _ in range(number):
        losses = law.loss(theta, SIZES)[:, None] * np.exp(noise * rng.standard_normal((SIZES.size, len(SEEDS))))
        runs = [
            Run(f"D = {size:g}, seed {seed}", "", {"D": float(size)}, float(loss), seed)
            for size, row in zip(SIZES, losses, strict=True)
            for seed, loss in zip(SEEDS, row, strict=True)
        ]
        yield Points("synthetic", ("D",), tuple(runs))


def coverage(number: int, noise: float, level: float = 0.9) -> dict[str, float]:
    """Share of draws whose intervals contain the true value, for each parameter of the broken law."""
    law, theta = TRUTHS["broken"]
    truth = law.parameters_by_name(theta)
    hits = dict.fromkeys(truth, 0)
    for data in draws(law, theta, number, noise):
        for name, interval in profile_intervals(fit(law, data), level).items():
            hits[name] += truth[name] in interval
    return {name: count / number for name, count in hits.items()}


def verdicts(truth: str, number: int, noise: float) -> dict[str | None, float]:
    """Share of draws of a true law for each verdict; None is undecided."""
    found = Counter(compare(LAWS, data).shape for data in draws(*TRUTHS[truth], number, noise))
    return {shape: count / number for shape, count in found.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Draw, fit and print both shares."""
    command(lambda: check(words))


def check(words: Sequence[str] | None) -> None:
    """Parse the command line, draw, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200, help="number of draws of each law (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.01, help="relative noise of a loss (default: %(default)s)")
    options = parser.parse_args(words)
    shares = coverage(options.draws, options.noise)
    print("90 % intervals contain the true value: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in shares.items()))
    for truth in TRUTHS:
        found = sorted(verdicts(truth, options.draws, options.noise).items(), key=lambda item: -item[1])
        print(f"verdicts on a {truth} law: " + ", ".join(f"{k or 'undecided'}: {100 * v:.1f} %" for k, v in found))


if __name__ == "__main__":
    main()
