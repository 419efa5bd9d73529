r"""Measure how well the oscillator dictionary represents ab initio spectra: non-negative fits to the embedded metals.

    python tools/fit_dictionary.py --num 400 --num-tail 24

Every distinct spectrum (each axis of each material) is fitted in Re and Im at once by non-negative least squares. The
output is quantiles of the mean absolute error over energies, Re and Im, and the mean |ε − 1| for comparison.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds, so that Ctrl-C ends them without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse

import numpy as np
from scipy.optimize import nnls

from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.targets.oscillators import Dictionary
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.progress import ProgressReporter


def main() -> None:
    """Fit and print."""
    command(fit)


def fit() -> None:
    """Parse the command line, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--num", type=int, default=400, help="number of energies within the grid (default: %(default)s)")
    add("--num-tail", type=int, default=24, help="number of energies beyond it (default: %(default)s)")
    add("--tail-stop", type=float, default=200.0, help="highest energy in eV (default: %(default)s)")
    add("--broadening", type=float, help="broadening in eV (default: that of the spectra)")
    args = parser.parse_args()
    labels = [record.labels for record in ExampleMetals(parts=1).records() if record.labels is not None]
    spectra = np.concatenate([np.unique(label.eps_inter, axis=0) for label in labels])
    grid, broadening = labels[0].grid, args.broadening or labels[0].broadening
    dictionary = Dictionary(args.num, grid.stop, args.num_tail, args.tail_stop)
    kernel = dictionary.kernel(grid, broadening or 0.0)
    # Re and Im as rows of one real system.
    matrix = np.concatenate([kernel.real, kernel.imag], axis=1).T
    errors = []
    with ProgressReporter("fitting", len(spectra), "{} spectra".format) as progress:
        for eps in spectra:
            target = np.concatenate([eps.real - 1, eps.imag])
            strengths, _ = nnls(matrix, target)
            errors.append(float(np.abs(matrix @ strengths - target).mean()))
            progress.advance(1)
    size = float(np.abs(spectra - 1).mean())
    print(f"{len(spectra)} spectra, mean |eps - 1| {size:.3f}")
    print(f"dictionary {args.num} + {args.num_tail} up to {args.tail_stop:g} eV, broadening {broadening} eV")
    for share in (0.05, 0.25, 0.5, 0.75, 0.95, 1.0):
        print(f"  {share:4.0%} quantile of the MAE: {np.quantile(errors, share):.5f}")


if __name__ == "__main__":
    main()
