r"""Train the model that is shipped with the package, cross-validate it, and write checkpoints, intervals and card.

    python tools/train_pretrained.py --work runs/pretrained [--workers 2] [--target FOLDER]

Members of the ensemble: the structure kernel, two networks of `configs/recipe/small_data.yaml`, which learn what it
leaves, and one of `small_data_network.yaml`, which learns everything, all trained on every embedded metal and, as a
lower fidelity, on those with coarse k meshes. The same members, and the composition kernel for comparison, are
cross-validated on five folds by formula first, each an ordinary `dielectric-gnn cross-validate` in --work, which gives
the errors of the card and the prediction intervals, whose coverage is measured by calibrating on the other folds.
Weights are stored in half precision. A repeated command continues.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take seconds: Ctrl-C ends them, too, without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn import optics
from dielectric_gnn.data.sources import CoarseMetals, ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.optics.intervals import Intervals
from dielectric_gnn.pretrained.models import CARD, INTERVALS
from dielectric_gnn.studies.cross_validation.folds import RUNS, run_name
from dielectric_gnn.studies.cross_validation.results import ENSEMBLE, FoldPredictions, read_results
from dielectric_gnn.studies.cross_validation.table import comparison_table, result_table
from dielectric_gnn.training.checkpoint import SECTION, AtomicCheckpointIO, read_checkpoint
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.files import write_text

ROOT = Path(__file__).resolve().parents[1]
BASE = ["--config", "base.yaml", "--config", "trainer/cpu.yaml", "--figures.every_n_epochs", "0"]
JOINT = [*BASE, "--config", "data/example_fidelities.yaml"]
CORRELATION = "0.7"
KERNEL = [*JOINT, "--config", "baseline/structure_kernel.yaml", "--model.fidelities", "null"]
KERNEL += ["--model.backbone.init_args.fidelity_correlation", CORRELATION]
WITH_PRIOR = [*JOINT, "--config", "recipe/small_data.yaml", "--model.prior.fidelity_correlation", CORRELATION]
NETWORK = [*JOINT, "--config", "recipe/small_data_network.yaml"]
NUM_FOLDS = 5


@dataclass(frozen=True)
class Member:
    """One member of the ensemble: a name, the options of `fit`, and a seed."""

    name: str
    options: Sequence[str]
    seed: int


MEMBERS = (
    Member("structure-kernel", KERNEL, 1),
    Member("prior-1", WITH_PRIOR, 1),
    Member("prior-2", WITH_PRIOR, 2),
    Member("network-1", NETWORK, 1),
)
REFERENCE = Member(
    "composition-kernel",
    [*BASE, "--config", "data/example.yaml", "--config", "baseline/composition_kernel.yaml"],
    1,
)


def run(*words: object) -> None:
    """Run `dielectric-gnn`; its failure ends this command."""
    subprocess.run([sys.executable, "-m", "dielectric_gnn", *map(str, words)], cwd=ROOT, check=True)


def cross_validate(work: Path, workers: int) -> None:
    """Cross-validate every member and the reference."""
    for member in (*MEMBERS, REFERENCE):
        own = ["--out", work / member.name, "--folds", NUM_FOLDS, "--seeds", member.seed, "--workers", workers]
        run("cross-validate", *member.options, *own)


def train(work: Path) -> None:
    """Train every member on all metals."""
    ids = [record.material_id for record in ExampleMetals().records()]
    write_text(work / "all.json", json.dumps({"train": ids, "val": [], "test": []}))
    for member in MEMBERS:
        folder = work / f"{member.name}-all"
        own = ["--seed_everything", member.seed, "--run_dir", folder, "--data.split_ids", work / "all.json"]
        run("fit", *member.options, *own, "--trainer.limit_val_batches", 0)


def store_member(checkpoint: Path, target: Path) -> None:
    """Store weights in half precision, with configuration and training statistics, and nothing else."""
    content = read_checkpoint(checkpoint)
    section = content[SECTION]
    section["config"]["data"] = {"cutoff": section["config"]["data"]["cutoff"], "symmetry": "orbit"}
    state = {name: _half(value) for name, value in content["state_dict"].items()}
    AtomicCheckpointIO().save_checkpoint({"state_dict": state, SECTION: section}, target)


def _half(value: torch.Tensor) -> torch.Tensor:
    fits = value.is_floating_point() and bool((value.abs() < torch.finfo(torch.float16).max).all())
    return value.half() if fits else value


def out_of_fold(work: Path) -> tuple[FoldPredictions, CrystalStore]:
    """Predictions of the ensemble for every metal, by members that have not seen its formula."""
    store = CrystalStore.from_records(list(ExampleMetals().records()), 5.5, symmetry="orbit")
    predictions = FoldPredictions(store, [member.name for member in MEMBERS])
    for number in range(NUM_FOLDS):
        ids, paths = _fold(work, number)
        predictions.add(number, ids, paths, ())
    return predictions, store


def _fold(work: Path, number: int) -> tuple[list[str], list[Path]]:
    results = read_results(work / MEMBERS[0].name)[0]
    ids = [material_id for material_id, fold in zip(results.ids, results.folds, strict=True) if fold == number]
    return ids, [last_checkpoint(work, member, number) for member in MEMBERS]


def last_checkpoint(work: Path, member: Member, number: int) -> Path:
    """Checkpoint of a member in the run of a fold."""
    return work / member.name / RUNS / run_name(number, member.seed) / CHECKPOINTS / "last.ckpt"


def errors(predictions: FoldPredictions, store: CrystalStore) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Absolute errors out of fold: ω_D (D,) in eV, R (D, W), and ΔE (D,)."""
    true = labels_of(store.gather(range(len(store))))
    energies = store.grid.energies()
    drude = predictions.values[ENSEMBLE][:, -1]
    sides = []
    for eps_inter, plasma in ((predictions.eps_inter, drude), (true.eps_inter, true.drude.double().numpy())):
        eps = torch.view_as_complex(eps_inter.double().contiguous()).numpy()
        total = optics.total_dielectric_function(energies, eps, plasma, optics.DEFAULT_DAMPING)
        xyz = optics.response_colour_or_nan(energies, eps, plasma)
        sides.append((optics.reflectivity(*optics.refractive_index(total)), xyz))
    (predicted, xyz), (calculated, true_xyz) = sides
    return (
        np.abs(drude - true.drude.double().numpy()),
        np.abs(predicted - calculated),
        optics.colour_difference(xyz, true_xyz),
    )


def coverage(energies: NDArray[Any], found: Sequence[NDArray[Any]], folds: NDArray[Any]) -> dict[str, float]:
    """Share of materials within intervals that were calibrated on the other folds."""
    inside: dict[str, list[float]] = {"ω_D": [], "R": [], "ΔE": []}
    for fold in np.unique(folds):
        own, others = folds == fold, folds != fold
        intervals = Intervals.from_errors(energies, *(values[others] for values in found))
        drude, reflectivity, colour = (values[own] for values in found)
        inside["ω_D"] += (drude <= intervals.drude).tolist()
        inside["R"] += (reflectivity <= intervals.reflectivity).mean(axis=1).tolist()
        inside["ΔE"] += (colour <= intervals.colour_difference).tolist()
    return {name: float(np.mean(values)) for name, values in inside.items()}


CARD_TEXT = """# metals-gpaw

{num} metals and intermetallics of {formulas} formulas (`dielectric_gnn/data/example/README.md`: GPAW, PBE,
independent-particle approximation, broadening 0.3 eV, 0–20 eV, ω_D from the intraband response), elements Li to Bi
without rare earths, and {coarse} others with coarse k meshes as a lower fidelity. An ensemble of {members} members: the
structure kernel, two networks of `configs/recipe/small_data.yaml`, which learn what it leaves, and one of
`small_data_network.yaml`. Im ε is never negative, and Re ε is consistent with it. Made by
`python tools/train_pretrained.py`.

Cross-validation on five folds by formula; every metal is predicted by members that have not seen its formula:

{table}
Difference of the ensemble from the composition kernel, paired:

{comparison}
90 % intervals from these errors: ω_D ± {drude:.2f} eV, R at 2 eV ± {reflectivity:.3f}, colour ΔE below
{colour:.1f}. Calibrated on four folds, they contain {coverage} of the fifth.

**Not for** insulators and semiconductors, molecules, surfaces, magnetic effects, spin–orbit splittings, elements that
are not in the training set, or reference values: the labels are of unrelaxed, partly hypothetical crystals on modest k
meshes, whose own error (38 against 60 Å per axis, twelve elements and simple alloys) is 0.33 in ε and 0.61 eV in ω_D in
the median. Warnings in tables and `Spectrum.warnings` name structures unlike the training set.
"""


def main() -> None:
    """Cross-validate, train and write."""
    command(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/pretrained"), help="folder of the trainings")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time")
    parser.add_argument("--target", type=Path, default=ROOT / "dielectric_gnn" / "pretrained" / "metals-gpaw")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    cross_validate(work, options.workers)
    train(work)
    options.target.mkdir(parents=True, exist_ok=True)
    for old in options.target.iterdir():
        old.unlink()
    for place, member in enumerate(MEMBERS):
        store_member(
            work / f"{member.name}-all" / CHECKPOINTS / "last.ckpt", options.target / f"{place}-{member.name}.ckpt"
        )
    write_card(work, options.target)
    size = sum(path.stat().st_size for path in options.target.iterdir()) / 1e6
    print(f"{options.target}: {len(MEMBERS)} members, {size:.2f} MB")


def write_card(work: Path, target: Path) -> None:
    """Write intervals and card from the cross-validation."""
    predictions, store = out_of_fold(work)
    found, energies = errors(predictions, store), store.grid.energies()
    intervals = Intervals.from_errors(energies, *found)
    write_text(target / INTERVALS, json.dumps(intervals.to_plain()) + "\n")
    results = predictions.results()
    (ensemble,) = (one for one in results if one.seed == ENSEMBLE)
    table = result_table(results).replace("seed  ", "member", 1)
    comparison, _ = comparison_table([replace(ensemble, seed="mean")], read_results(work / REFERENCE.name)[:1])
    shares = coverage(energies, found, predictions.folds)
    text = CARD_TEXT.format(
        num=len(store),
        formulas=len(set(store.formulas)),
        coarse=CoarseMetals().size(),
        members=len(MEMBERS),
        table=table,
        comparison=comparison,
        drude=intervals.drude,
        reflectivity=float(np.interp(2.0, energies, intervals.reflectivity)),
        colour=intervals.colour_difference,
        coverage=", ".join(f"{share:.0%} ({name})" for name, share in shares.items()),
    )
    write_text(target / CARD, text)
    print(text)


if __name__ == "__main__":
    main()
