"""Predicted responses as files: per material a table and a picture, and one summary."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from dielectric_gnn import optics
from dielectric_gnn.callbacks.figures import spectra_of
from dielectric_gnn.data.graph import CrystalGraph
from dielectric_gnn.data.record import element_symbol
from dielectric_gnn.errors import InputError
from dielectric_gnn.files import write_csv
from dielectric_gnn.plots import Spectrum, response_figure, save_figure
from dielectric_gnn.response import Response

_SPECTRUM_HEADER = (
    "energy_ev", "eps_inter_re", "eps_inter_im", "eps_re", "eps_im", "n", "k", "reflectivity",
)  # fmt: skip
_SUMMARY_HEADER = (
    "material_id", "formula", "drude_ev", "damping_ev", "broadening_ev", "lab_l", "lab_a", "lab_b", "srgb_hex",
    "unseen_elements",
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
        self._summary: list[tuple[object, ...]] = []

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
        module: Any = pl_module
        store = trainer.datamodule.store  # type: ignore[attr-defined]
        folder = self.folder(trainer)
        for row, spectrum in zip(batch.index.tolist(), spectra_of(outputs), strict=True):
            material_id, formula = store.material_ids[row], store.formulas[row]
            known = {"material_id": material_id, "formula": formula, "drude_ev": f"{spectrum.drude:.6g}"}
            facts = module.facts
            broadening = "unknown" if facts is None or facts.broadening is None else facts.broadening
            known |= {"damping_ev": self.damping_ev, "broadening_ev": broadening}
            stem = re.sub(r"[^\w.+-]", "_", material_id)
            self._write_spectrum(folder / f"{stem}.csv", store.grid.energies(), spectrum, known)
            if self.figures:
                title = rf"{formula} ({material_id}): $\omega_\mathrm{{D}}$ = {spectrum.drude:.2f} eV, predicted"
                figure = response_figure(title, store.grid.energies(), spectrum, self.damping_ev)
                save_figure(figure, folder / f"{stem}.png")
            unseen = [] if facts is None else [z for z in store.elements([row]) if z not in facts.elements]
            colour = self._colour(store.grid.energies(), spectrum)
            symbols = " ".join(element_symbol(number) for number in unseen)
            self._summary.append((*known.values(), *colour, symbols))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the summary table."""
        folder = self.folder(trainer)
        write_csv(folder / "summary.csv", _SUMMARY_HEADER, self._summary)
        sys.stdout.write(f"\nPredicted {len(self._summary)} materials; spectra and summary.csv are in {folder}/\n")
        unseen = [str(row[0]) for row in self._summary if row[-1]]
        if unseen:
            sys.stdout.write(
                f"{len(unseen)} of them hold elements that the training set lacks, named in the summary; "
                f"trust them less: {', '.join(unseen[:5])}{' …' if len(unseen) > 5 else ''}\n"
            )

    @staticmethod
    def folder(trainer: Trainer) -> Path:
        """Where the files go."""
        return Path(trainer.default_root_dir) / "predictions"

    def _colour(self, energies: optics.FloatArray, spectrum: Spectrum) -> tuple[str, str, str, str]:
        xyz = optics.response_colour(energies, spectrum.eps_inter, spectrum.drude, self.damping_ev)
        lightness, a, b = (f"{value:.2f}" for value in optics.colour_lab(xyz))
        srgb = optics.colour_srgb(xyz)
        return lightness, a, b, optics.hex_colour(srgb) if np.isfinite(srgb).all() else ""

    def _write_spectrum(
        self, path: Path, energies: optics.FloatArray, spectrum: Spectrum, known: dict[str, object]
    ) -> None:
        eps = optics.total_dielectric_function(energies, spectrum.eps_inter, spectrum.drude, self.damping_ev)
        n, k = optics.refractive_index(eps)
        inter = spectrum.eps_inter
        columns = (energies, inter.real, inter.imag, eps.real, eps.imag, n, k, optics.reflectivity(n, k))
        rows = ([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))
        comments = [f"{key}: {value}" for key, value in known.items()]
        write_csv(path, _SPECTRUM_HEADER, rows, comments)
