"""Compare predicted with measured reflectivities; no material is predicted by a model that was trained on its formula.

    python tools/compare_measured.py MEASURED --work runs/pretrained

MEASURED holds `index.csv` (columns file, formula, e_min, e_max), the files named there (energy_eV, n, k) and
`structures/FORMULA.cif`. --work is the folder of `tools/train_pretrained.py`: a material whose formula is in the
embedded set is predicted by the members of the fold that held this formula out, every other one by the shipped model.
Compared is R at normal incidence on 1.65–3.05 eV, averaged over the measurements of a formula.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take seconds: Ctrl-C ends them, too, without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from train_pretrained import MEMBERS, NUM_FOLDS, last_checkpoint

from dielectric_gnn import optics, pretrained
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.structures import to_record
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.prediction.loading import load
from dielectric_gnn.studies.cross_validation.results import read_results
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.errors import InputError

ENERGIES = np.linspace(1.65, 3.05, 57)
DAMPING_EV = 0.1
_RED_EV = 1239.841984 / 633


def measured_reflectivities(folder: Path) -> dict[str, list[NDArray[np.float64]]]:
    """R on `ENERGIES` of every measurement that covers them, by formula."""
    found: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if float(line["e_min"]) > ENERGIES[0] or float(line["e_max"]) < ENERGIES[-1]:
                continue
            table = pd.read_csv(folder / line["file"], comment="#").sort_values("energy_eV")
            reflectivity = optics.reflectivity(table["n"].to_numpy(), table["k"].to_numpy())
            found[line["formula"]].append(np.interp(ENERGIES, table["energy_eV"], reflectivity))
    return found


def models_by_formula(work: Path) -> tuple[dict[str, ResponseModule], ResponseModule]:
    """The ensemble that has not seen a formula, for every formula of the embedded set; and the one for all others."""
    formulas = {record.material_id: record.formula for record in ExampleMetals().records()}
    results = read_results(work / MEMBERS[0].name)[0]
    folds = [load([last_checkpoint(work, member, number) for member in MEMBERS]) for number in range(NUM_FOLDS)]
    held_out = {formulas[one]: folds[fold] for one, fold in zip(results.ids, results.folds, strict=True)}
    return held_out, pretrained.load_pretrained("metals-gpaw")


def main() -> None:
    """Compare and print."""
    command(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/pretrained"))
    options = parser.parse_args()
    measured = measured_reflectivities(options.measured)
    held_out, others = models_by_formula(options.work)
    known = set(others.training_statistics.elements or ()) if others.training_statistics else set()
    rows, left_out = [], []
    for formula, curves in sorted(measured.items()):
        path = options.measured / "structures" / f"{formula}.cif"
        try:
            record = to_record(str(path))
        except InputError:
            left_out.append(formula)
            continue
        if not set(record.atomic_numbers.tolist()) <= known:
            left_out.append(formula)
            continue
        spectrum: Spectrum = held_out.get(record.formula, others).predict(record, DAMPING_EV)
        rows.append(_row(formula, record.formula in held_out, spectrum, np.mean(curves, axis=0)))
    errors = np.array([row[-1] for row in rows], dtype=np.float64)
    print("| material | formula trained on | R (633 nm) measured | predicted | colour | ω_D (eV) | mean abs. ΔR |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(str(cell) if isinstance(cell, str) else f"{cell:.3f}" for cell in row) + " |")
    mean = np.mean(np.concatenate([np.concatenate(curves) for curves in measured.values()]))
    print(f"\n{len(rows)} materials: mean absolute error of R {np.mean(errors):.3f}, median {np.median(errors):.3f}")
    print(f"one number for all, {mean:.2f}: {_error_of_constant(measured, [str(row[0]) for row in rows], mean):.3f}")
    sys.stderr.write(f"left out, because of elements or without a structure file: {', '.join(left_out)}\n")


def _row(formula: str, trained_on: bool, spectrum: Spectrum, curve: NDArray[np.float64]) -> list[str | float]:
    predicted = np.interp(ENERGIES, spectrum.energies, spectrum.reflectivity)
    red = float(np.interp(_RED_EV, ENERGIES, curve)), spectrum.reflectivity_at(_RED_EV)
    colour = spectrum.colour or "–"
    error = float(np.abs(predicted - curve).mean())
    return [formula, "held out" if trained_on else "no", *red, colour, spectrum.drude, error]


def _error_of_constant(measured: dict[str, list[NDArray[np.float64]]], formulas: list[str], value: float) -> float:
    return float(np.mean([np.abs(np.mean(measured[one], axis=0) - value).mean() for one in formulas]))


if __name__ == "__main__":
    main()
