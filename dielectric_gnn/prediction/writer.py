"""Predicted responses as files: per material a table and a figure, and one ranked summary; resumable."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import compress
from pathlib import Path
from time import perf_counter
from typing import Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from dielectric_gnn import optics
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.sources.base import report_rejects
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.export import WRITERS
from dielectric_gnn.models.heads.base import Quantity
from dielectric_gnn.prediction.files import write_material
from dielectric_gnn.prediction.journal import PredictionJournal, Row
from dielectric_gnn.prediction.summary import RANKABLE, Conditions, summarise, write_summary
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.run_folder import PREDICTIONS
from dielectric_gnn.training.spectra import spectra_of
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import file_stem
from dielectric_gnn.utils.progress import ProgressReporter

FEW_MATERIALS = 50
"""With `figures: auto`, up to this number of materials get a figure each."""


_TOTAL_EPS_QUANTITIES: frozenset[Quantity] = frozenset({"re", "im", "drude"})

_NOT_FINITE = "the prediction is not finite: the model diverged, or the structure is unlike the training set"


class PredictionWriter(Callback):
    """Writes predictions into `<run_dir>/predictions/`.

    Materials that are written are not predicted again when the same command is launched again.

    Args:
        damping_ev: γ of the Drude term (eV); recorded in every file.
        illuminant: CIE illuminant of colours, such as D65, D50, A, E or FL2.
        observer: CIE standard observer of colours: `2deg` (1931) or `10deg` (1964).
        figures: Draw one PNG per material (about half a second each); `auto` does so for up to 50 materials.
        formats: Further files of the total ε of each material, of `refractiveindex` (YAML of refractiveindex.info),
            `nk` (wavelength, n, k), `csv` and `json` (all derived quantities) and `meep` (passive Drude-Lorentz fit).
        rank_by: Column of the summary to rank by, largest first; with a minus before its name, such as
            `-kk_residual`, smallest first; null ranks by material id.
    """

    def __init__(
        self,
        damping_ev: float = optics.DEFAULT_DAMPING,
        illuminant: str = optics.DEFAULT_ILLUMINANT,
        observer: optics.Observer = optics.DEFAULT_OBSERVER,
        figures: bool | Literal["auto"] = "auto",
        formats: Sequence[str] = (),
        rank_by: str | None = None,
    ) -> None:
        if unknown := [name for name in formats if name not in WRITERS]:
            raise InputError(f"format {unknown[0]!r} is unknown; choose of {', '.join(WRITERS)}")
        if rank_by is not None and rank_by.removeprefix("-") not in RANKABLE:
            raise InputError(f"rank_by is {rank_by!r}, expected one of {', '.join(RANKABLE)}")
        self.conditions = Conditions(damping_ev, illuminant, observer)
        self.figures = figures
        self.formats = tuple(formats)
        self.rank_by = rank_by
        self.journal: PredictionJournal | None = None
        self.source = ""
        self._started = 0.0
        self._progress: ProgressReporter | None = None

    def begin(self, folder: Path, model: str, source: str = "") -> dict[str, str]:
        """Resume the predictions in a folder.

        Args:
            folder: Folder of the files.
            model: A fingerprint of the model; predictions of other models are ignored.
            source: Description of the model, for exported files.

        Returns:
            Ids and fingerprints of the finished materials.
        """
        options = {"figures": self.figures, "formats": self.formats, **asdict(self.conditions)}
        self.source = source
        self.journal = PredictionJournal(folder, {"model": model, **options})
        return {material_id: row["crystal"] for material_id, row in self.journal.rows().items()}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the files can be written. Without `begin` (from Python) nothing is resumed."""
        if self.journal is None:
            self.begin(Path(trainer.default_root_dir) / PREDICTIONS, f"in memory, {id(pl_module)}")
        missing = _TOTAL_EPS_QUANTITIES - pl_module.outputs  # type: ignore[operator]
        if self.formats and missing:
            raise InputError(
                f"the model does not predict {', '.join(sorted(missing))}, which the total dielectric function in the "
                f"formats {', '.join(self.formats)} needs; leave out predictions.formats"
            )
        self._started = perf_counter()
        todo = len(trainer.datamodule.indices["predict"])  # type: ignore[attr-defined]
        if trainer.is_global_zero and trainer.progress_bar_callback is None and todo > FEW_MATERIALS:
            self._progress = ProgressReporter("predicting", -(-todo // trainer.world_size), "{} materials".format)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Response,
        batch: CrystalGraph,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the materials of the batch, then record them in the journal."""
        journal = _require_journal(self.journal)
        store: CrystalStore = trainer.datamodule.store  # type: ignore[attr-defined]
        statistics: TrainingStatistics | None = getattr(pl_module, "training_statistics", None)
        grid: EnergyGrid = pl_module.grid  # type: ignore[assignment]
        finite = pl_module.finite_rows(outputs).tolist()  # type: ignore[operator]
        damping = self.conditions.damping_ev
        spectra = list(compress(spectra_of(outputs, grid, damping), finite))
        rows = list(compress(batch.index.tolist(), finite))
        if not rows:
            return
        intervals = getattr(pl_module, "intervals", None)
        summaries = summarise(rows, spectra, store, statistics, self.conditions, intervals)
        draw = self._should_draw(trainer)
        for spectrum, summary in zip(spectra, summaries, strict=True):
            stem = journal.folder / file_stem(summary["material_id"])
            tensors = spectrum.tensor is not None and statistics is not None and statistics.num_tensors > 0
            write_material(stem, replace(spectrum, source=self.source), tensors, summary, draw, self.formats)
        crystals = [{"crystal": store.fingerprint(row)} for row in rows]
        journal.append([s | crystal for s, crystal in zip(summaries, crystals, strict=True)], trainer.global_rank)
        if self._progress is not None:
            self._progress.advance(len(rows))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the summary when all processes have finished."""
        _require_journal(self.journal).close()
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            data: CrystalDataModule = trainer.datamodule  # type: ignore[attr-defined]
            self.conclude(data, pl_module)

    def conclude(self, data: CrystalDataModule, pl_module: LightningModule) -> None:
        """Write the summary of all requested materials, from all processes and launches, and report it."""
        journal = _require_journal(self.journal)
        finished = journal.rows()
        ids = [data.store.material_ids[row] for row in data.requested]
        rows = [finished[material_id] for material_id in ids if material_id in finished]
        rejects = [RecordError(material_id, _NOT_FINITE) for material_id in ids if material_id not in finished]
        report_rejects(rejects, journal.folder / "rejects.csv")
        write_summary(journal.folder, rows, self.rank_by)
        sys.stdout.write(self._result(len(rows), len(data.indices["predict"]), journal.folder))
        statistics = getattr(pl_module, "training_statistics", None)
        if getattr(pl_module, "tensorial", False) and (statistics is None or statistics.num_tensors == 0):
            sys.stdout.write("Tensors are not written: the model was trained on averages over directions only\n")
        for problem, found in (
            ("predictions are not finite and were left out, see rejects.csv", [one.source for one in rejects]),
            ("materials are to be doubted, see `warnings` in the summary", _ids_with(rows, "warnings")),
        ):
            if found:
                sys.stdout.write(f"{len(found)} {problem}: {', '.join(found[:5])}{' …' if len(found) > 5 else ''}\n")

    def _result(self, total: int, now: int, folder: Path) -> str:
        materials = "1 material" if total == 1 else f"{total} materials"
        earlier = f", {total - now} of them in an earlier launch" if now < total else ""
        # For few materials, the time is that of the first batch and of the figures.
        speed = f" ({now / (perf_counter() - self._started):.0f} per second)" if now > FEW_MATERIALS else ""
        return f"\nPredicted {materials}{earlier}{speed}; spectra, summary.csv and index.html are in {folder}/\n"

    def _should_draw(self, trainer: Trainer) -> bool:
        data: CrystalDataModule = trainer.datamodule  # type: ignore[attr-defined]
        return len(data.requested) <= FEW_MATERIALS if self.figures == "auto" else bool(self.figures)


def _require_journal(journal: PredictionJournal | None) -> PredictionJournal:
    if journal is None:
        raise ValueError("PredictionWriter.begin was not called")
    return journal


def _ids_with(rows: Sequence[Row], column: str) -> list[str]:
    return [row["material_id"] for row in rows if row.get(column)]
