r"""Cross-validate a tensor model against a scalar one on the embedded materials that are not cubic.

    python tools/compare_tensors.py --out runs/tensors --folds 4 --seeds 1 42 137
    python tools/compare_tensors.py --out runs/tensors-oscillator --head oscillator --weight-decay 1 --epochs 30

The 17 embedded materials that are not cubic are divided into folds. For each fold and seed two models of the same
backbone and recipe are trained on all materials of other formulas: one with the tensor head, and as baseline a scalar
model that predicts the isotropic average for every direction. Errors are those of the full tensor, ⟨‖Δε‖_F / √3⟩, of
its deviator, and of the root of the Drude tensor (eV): means over the 17 materials, then mean ± standard deviation over
the seeds. Finished trainings are not repeated; remove their files to repeat them, or choose another folder for other
options.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds, so that Ctrl-C ends them without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.optim import AdamW

from dielectric_gnn.cli.trainer_parts import quiet
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.frames import allowed_tensors
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.metrics.spectral import tensor_metrics
from dielectric_gnn.models.backbones import Goten
from dielectric_gnn.models.heads import FreeFormHead, FreeFormTensorHead, Head, OscillatorHead, OscillatorTensorHead
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.evaluation import labels_of, trainable_parameters
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective, TensorObjective
from dielectric_gnn.training.schedule import WarmupCosine
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import user_path, write_text
from dielectric_gnn.utils.locks import locked
from dielectric_gnn.utils.names import check_seed

COLUMNS = {"tensor_error": "error of ε", "deviator_error": "error of dev ε", "drude_tensor_error": "error of R (eV)"}
HEADS: dict[str, tuple[type[Head], type[Head]]] = {
    "free_form": (FreeFormHead, FreeFormTensorHead),
    "oscillator": (OscillatorHead, OscillatorTensorHead),
}
"""Classes of the heads for the isotropic average and for tensors."""

OPTIONS = ("folds", "width", "head", "weight_decay", "epochs", "lr")
"""Options on which results depend, beside fold and seed."""

PREDICTORS = {
    "tensors": "tensor model",
    "flattened": "the same, its average in every direction",
    "average": "scalar model, its average in every direction",
    "mean": "training mean",
    "oracle": "true average in every direction",
}


class Fold(ExampleMetals):
    """The embedded metals; the test set is one fold, and none of its formulas is in the training set."""

    def __init__(self, number: int, count: int) -> None:
        super().__init__(parts=1)
        self.number, self.count = number, count

    def split(self) -> dict[str, list[str]]:
        """Training set, an empty validation set, and test set."""
        records = list(self.records())
        anisotropic = [record for record in records if allowed_tensors(record).shape[1] > 1]
        formulas = sorted({record.formula for record in anisotropic})
        if not 2 <= self.count <= len(formulas):
            raise InputError(f"--folds is {self.count}, expected 2 to {len(formulas)}, the formulas that are not cubic")
        tested = set(formulas[self.number :: self.count])
        return {
            "train": [record.material_id for record in records if record.formula not in tested],
            "val": [],
            "test": [record.material_id for record in anisotropic if record.formula in tested],
        }


def train(args: argparse.Namespace, fold: int, seed: int, tensors: bool) -> tuple[DielectricModule, CrystalDataModule]:
    """Train the tensor model or the scalar baseline."""
    seed_everything(seed, verbose=False)
    data = CrystalDataModule(Fold(fold, args.folds), tensors=True, batch_size=8)
    model = DielectricModule(
        Goten(width=args.width, tensors=tensors),
        head=HEADS[args.head][tensors],
        objective=TensorObjective() if tensors else MaeObjective(),
        optimizer=partial(AdamW, lr=args.lr, weight_decay=args.weight_decay),
        schedule=WarmupCosine(warmup_epochs=5),
    )
    trainer = Trainer(
        max_epochs=args.epochs, accelerator="cpu", devices=1, gradient_clip_val=100, logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=args.out,
    )  # fmt: skip
    trainer.fit(model, data)
    return model.eval(), data


def isotropic(response: Response) -> Response:
    """The response without its anisotropy: the average in every direction."""
    return replace(response, anisotropy=None)


def errors(prediction: Response, target: Response) -> dict[str, list[float]]:
    """The tensor metrics of every material."""
    values = tensor_metrics(prediction, target)
    return {key: values[key].tolist() for key in COLUMNS}


def run(args: argparse.Namespace, fold: int, seed: int) -> dict[str, dict[str, list[float]]]:
    """Errors of all predictors for a fold and seed, after both trainings; read from the file if it exists."""
    path = args.out / f"fold{fold}-seed{seed}.json"
    options = {name: getattr(args, name) for name in OPTIONS}
    if path.exists():
        return read_results(path, options)
    results = {}
    for name, tensors in (("tensors", True), ("average", False)):
        started = time.perf_counter()
        model, data = train(args, fold, seed, tensors)
        graph = data.store.gather(data.indices["test"])
        target = labels_of(graph)
        with torch.no_grad():
            prediction = model(graph)
        results[name] = errors(prediction if tensors else isotropic(prediction), target)
        if tensors:
            results["flattened"] = errors(isotropic(prediction), target)
        print(
            f"seed {seed}, fold {fold + 1} of {args.folds}: {PREDICTORS[name].split(',')[0]} of "
            f"{trainable_parameters(model):,} parameters, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    results["mean"] = errors(data.training_statistics().trivial_response(graph.num_crystals), target)
    results["oracle"] = errors(isotropic(target), target)
    write_text(path, json.dumps({"options": options, "errors": results}))
    return results


def read_results(path: Path, options: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Read the errors in a file of results.

    Raises:
        InputError: The file was made with other options.
    """
    content = json.loads(path.read_text())
    stored = content.get("options", {})
    for name, value in options.items():
        if stored.get(name) != value:
            raise InputError(
                f"{path}: made with {name} {stored.get(name, 'unknown')}, but now it is {value}; choose another --out, "
                "or remove the folder to train again"
            )
    results: dict[str, dict[str, list[float]]] = content["errors"]
    return results


def table(results: dict[int, list[dict[str, dict[str, list[float]]]]]) -> str:
    """Markdown: one row per predictor."""
    lines = ["| predictor | " + " | ".join(COLUMNS.values()) + " |", "| --- " * (1 + len(COLUMNS)) + "|"]
    for name, description in PREDICTORS.items():
        cells = []
        for key in COLUMNS:
            means = [np.mean(np.concatenate([fold[name][key] for fold in folds])) for folds in results.values()]
            cells.append(f"{np.mean(means):.3f} ± {np.std(means):.3f}")
        lines.append(f"| {description} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number_above(least: float, kind: type) -> Any:
    """Type of an option whose value must be at least `least`."""

    def read(word: str) -> Any:
        value = kind(word)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{word}, expected at least {least:g}")
        return value

    return read


def main(words: Iterable[str] | None = None) -> None:
    """Run the comparison and print its table."""
    command(lambda: compare(words))


def compare(words: Iterable[str] | None) -> None:
    """Parse the command line, train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=4, help="number of folds (default: %(default)s)")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[1, 42, 137], help="seeds (default: the published ones)"
    )
    parser.add_argument("--width", type=int, default=64, help="width of Goten (default: %(default)s)")
    parser.add_argument("--head", choices=HEADS, default="free_form", help="kind of head (default: %(default)s)")
    parser.add_argument(
        "--weight-decay", type=number_above(0, float), default=1e-2, help="weight decay of AdamW (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=number_above(1, int), default=60, help="number of epochs (default: %(default)s)"
    )
    parser.add_argument("--lr", type=number_above(0, float), default=2e-3, help="learning rate (default: %(default)s)")
    parser.add_argument("--out", type=user_path, default=Path("runs/tensors"), help="folder of the results")
    args = parser.parse_args(None if words is None else list(words))
    quiet()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Checks the number of folds before any training.
    Fold(0, args.folds).split()
    for seed in args.seeds:
        check_seed("--seeds", seed)
    with locked(args.out, "compare_tensors.py"):
        results = {seed: [run(args, fold, seed) for fold in range(args.folds)] for seed in args.seeds}
    print(table(results))


if __name__ == "__main__":
    main()
