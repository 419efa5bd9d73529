"""Predicted responses as files: per material a table and a picture, and one summary."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from dielectric_gnn import optics
from dielectric_gnn.callbacks.figures import spectra_of
from dielectric_gnn.callbacks.tensor_files import write_tensor
from dielectric_gnn.data.graph import CrystalGraph
from dielectric_gnn.data.record import element_symbol
from dielectric_gnn.data.store import CrystalStore
from dielectric_gnn.errors import InputError
from dielectric_gnn.files import write_csv
from dielectric_gnn.plots import Spectrum, response_figure, save_figure, tensor_figure
from dielectric_gnn.response import Response
from dielectric_gnn.training_facts import TrainingFacts

_SPECTRUM_HEADER = (
    "energy_ev", "eps_inter_re", "eps_inter_im", "eps_re", "eps_im", "n", "k", "reflectivity",
)  # fmt: skip
_SPREAD_HEADER = ("eps_inter_re_spread", "eps_inter_im_spread")
_SUMMARY_HEADER = (
    "material_id", "formula", "drude_ev", "drude_spread_ev", "eps_inter_spread", "damping_ev", "broadening_ev",
    "lab_l", "lab_a", "lab_b", "srgb_hex", "unseen_elements",
)  # fmt: skip


class PredictionWriter(Callback):
    """Writes what `predict` finds into `<run_dir>/predictions/`.

    Args:
        damping_ev: γ of the Drude term (eV); recorded in every file.
        figures: Draw one PNG per material (about half a second each).
    """

    def __init__(self, damping_ev: float = optics.DEFAULT_DAMPING, figures: bool = True) -> None:
        if damping_ev <= 0:
            raise InputError(f"damping_ev is {damping_ev} eV, expected more than 0")
        self.damping_ev = damping_ev
        self.figures = figures
        self._summary: list[dict[str, str]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an empty summary."""
        self._summary = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Response,
        batch: CrystalGraph,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the materials of the batch."""
        store: CrystalStore = trainer.datamodule.store  # type: ignore[attr-defined]
        facts: TrainingFacts | None = getattr(pl_module, "facts", None)
        energies = store.grid.energies()
        for row, spectrum in zip(batch.index.tolist(), spectra_of(outputs), strict=True):
            summary = self._summarise(row, spectrum, store, facts)
            stem = self.folder(trainer) / re.sub(r"[^\w.+-]", "_", summary["material_id"])
            self._write_spectrum(stem.with_name(f"{stem.name}.csv"), energies, spectrum, summary)
            if self.figures:
                figure = response_figure(_title(summary), energies, spectrum, self.damping_ev)
                save_figure(figure, stem.with_name(f"{stem.name}.png"))
            if spectrum.tensor is not None and facts is not None and facts.num_tensors > 0:
                tensor_path = stem.with_name(f"{stem.name}_tensor.csv")
                write_tensor(tensor_path, energies, spectrum.tensor, summary, self.damping_ev)
                if self.figures:
                    figure = tensor_figure(_title(summary), energies, spectrum.tensor, self.damping_ev)
                    save_figure(figure, stem.with_name(f"{stem.name}_tensor.png"))
            self._summary.append(summary)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the summary table."""
        folder = self.folder(trainer)
        write_csv(folder / "summary.csv", _SUMMARY_HEADER, (row.values() for row in self._summary))
        sys.stdout.write(f"\nPredicted {len(self._summary)} materials; spectra and summary.csv are in {folder}/\n")
        facts = getattr(pl_module, "facts", None)
        if getattr(pl_module, "tensorial", False) and (facts is None or facts.num_tensors == 0):
            sys.stdout.write("Tensors are not written: the model was trained on averages over directions only\n")
        unseen = [row["material_id"] for row in self._summary if row["unseen_elements"]]
        if unseen:
            sys.stdout.write(
                f"{len(unseen)} of them hold elements that the training set lacks, named in the summary; "
                f"trust them less: {', '.join(unseen[:5])}{' …' if len(unseen) > 5 else ''}\n"
            )

    @staticmethod
    def folder(trainer: Trainer) -> Path:
        """Where the files go."""
        return Path(trainer.default_root_dir) / "predictions"

    def _summarise(
        self, row: int, spectrum: Spectrum, store: CrystalStore, facts: TrainingFacts | None
    ) -> dict[str, str]:
        """One row of the summary table, in the order of its header."""
        xyz = optics.response_colour(store.grid.energies(), spectrum.eps_inter, spectrum.drude, self.damping_ev)
        srgb = optics.colour_srgb(xyz)
        spread = spectrum.spread
        unseen = [] if facts is None else [z for z in store.elements([row]) if z not in facts.elements]
        known = (
            store.material_ids[row],
            store.formulas[row],
            f"{spectrum.drude:.6g}",
            "" if spread is None else f"{spread.drude:.6g}",
            "" if spread is None else f"{(spread.eps_inter.real + spread.eps_inter.imag).mean() / 2:.6g}",
            f"{self.damping_ev:g}",
            "unknown" if facts is None or facts.broadening is None else f"{facts.broadening:g}",
            *(f"{value:.2f}" for value in optics.colour_lab(xyz)),
            optics.hex_colour(srgb) if np.isfinite(srgb).all() else "",
            " ".join(element_symbol(number) for number in unseen),
        )
        return dict(zip(_SUMMARY_HEADER, known, strict=True))

    def _write_spectrum(
        self, path: Path, energies: optics.FloatArray, spectrum: Spectrum, summary: dict[str, str]
    ) -> None:
        eps = optics.total_dielectric_function(energies, spectrum.eps_inter, spectrum.drude, self.damping_ev)
        n, k = optics.refractive_index(eps)
        inter, header = spectrum.eps_inter, [*_SPECTRUM_HEADER]
        columns = [energies, inter.real, inter.imag, eps.real, eps.imag, n, k, optics.reflectivity(n, k)]
        if spectrum.spread is not None:
            header += _SPREAD_HEADER
            columns += [spectrum.spread.eps_inter.real, spectrum.spread.eps_inter.imag]
        rows = ([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))
        comments = [f"{key}: {value}" for key, value in summary.items() if value]
        write_csv(path, header, rows, comments)


def _title(summary: dict[str, str]) -> str:
    spread = f" ± {float(summary['drude_spread_ev']):.2f}" if summary["drude_spread_ev"] else ""
    drude = rf"$\omega_\mathrm{{D}}$ = {float(summary['drude_ev']):.2f}{spread} eV"
    return f"{summary['formula']} ({summary['material_id']}): {drude}, predicted"
