"""The one LightningDataModule: a source of materials in, batches of crystals out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dielectric_gnn.data.checks import check_model, check_shares, check_store
from dielectric_gnn.data.frames import read_records
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.option_values import at_most_one, check_cutoff, check_whole
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sampling import (
    AnyStore,
    BudgetBatches,
    EvaluationBatches,
    TrainingBatches,
    TrainingLoader,
    evaluation_loader,
)
from dielectric_gnn.data.sources import ExampleMetals, RecordSource, StructureFiles
from dielectric_gnn.data.sources.base import OnError
from dielectric_gnn.data.splits import (
    SHARES,
    SPLIT_NAMES,
    SplitMethod,
    SubsetMethod,
    composition_split,
    published_split,
    subset_rows,
)
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.data.store.metadata import read_metadata
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.progress import ProgressReporter

log = logging.getLogger(__name__)

TRAIN_IDS = "train_ids.txt"
"""File in the folder of a run: the materials that it was trained on, one id per line."""


_MANY = 500
"""Fewer materials than this are read in a moment."""


class CrystalDataModule(LightningDataModule):
    """Reads materials, builds their graphs, splits them and serves batches.

    Args:
        source: Where labelled materials come from, by class path; null means the embedded metals.
        store: A folder written by `dielectric-gnn prepare`, with its split; replaces source.
        crystals: What `predict` reads instead of the test set: structure files and folders.
        on_error: A material that cannot be used: `raise` stops, `skip` lists it in rejects.csv and goes on.
        tensors: Read whole tensors for heads that predict them, and check that label and lattice share a frame; else
            the averages over directions. A store has what it was made with.
        batch_size: Crystals per training batch (and process), at least 2.
        batch_edges: In place of batch_size: at most so many edges per training batch (and process), so that time and
            memory of a step hardly depend on the size of the crystals.
        batch_pairs: Likewise, three-body pairs.
        eval_batch_size: Crystals per batch of validation, test and prediction.
        cutoff: Neighbour cutoff of the graphs (Å).
        symmetry: `orbit` treats equal atoms, edges and angles of a crystal as one, which gives the same results many
            times faster where crystals are symmetric; for invariant backbones. A store must have been built with it.
        resident: Keep all materials in the memory of the device (GPU), where batches are gathered too.
        train_size: Number of training materials; null: all.
        subset: How they are drawn. `nested`: smaller sets are inside larger ones; `published`: as in the published
            study (arXiv:2602.05702).
        train_ids: A file with one material id per line: exactly these training materials, in place of train_size; such
            as a published subset, or the train_ids.txt that another training left in its folder.
        subset_seed: Of the permutation whose first `train_size` materials a nested subset takes.
        split: How materials are split by formula where the source fixes no split. `published`: as in the published
            study, 80/10/10; `seeded`: by the next two options.
        split_fractions: Shares of train, validation and test of a seeded split; null means 80/10/10.
        split_seed: Of a seeded split; null means 0.
        shuffle_seed: Of the order of training batches; null means seed_everything.
    """

    store: CrystalStore

    def __init__(
        self,
        source: RecordSource | None = None,
        store: str | None = None,
        crystals: Sequence[str] | None = None,
        on_error: OnError = "raise",
        tensors: bool = False,
        batch_size: int = 32,
        batch_edges: int | None = None,
        batch_pairs: int | None = None,
        eval_batch_size: int = 64,
        cutoff: float = DEFAULT_CUTOFF,
        symmetry: Symmetry = "full",
        resident: bool = False,
        train_size: int | None = None,
        train_ids: str | None = None,
        subset: SubsetMethod = "nested",
        subset_seed: int = 0,
        split: SplitMethod = "published",
        split_fractions: tuple[float, float, float] | None = None,
        split_seed: int | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 2 or eval_batch_size < 1:
            raise InputError(
                f"batch_size is {batch_size} and eval_batch_size {eval_batch_size}, expected at least 2 (batch norm "
                "cannot train on one crystal) and 1"
            )
        check_cutoff(cutoff)
        check_whole(0, subset_seed=subset_seed, split_seed=split_seed, shuffle_seed=shuffle_seed)
        check_whole(1, batch_edges=batch_edges, batch_pairs=batch_pairs)
        at_most_one(source=None if source is None else type(source).__name__, store=store)
        if resident and symmetry == "orbit":
            raise InputError("data.resident keeps full graphs, but data.symmetry is orbit; give up one of them")
        at_most_one(train_size=train_size, train_ids=train_ids)
        at_most_one(batch_edges=batch_edges, batch_pairs=batch_pairs)
        self.source = source or ExampleMetals()
        self.store_folder = None if store is None else Path(store)
        self.crystals = list(crystals) if crystals else None
        self.on_error = on_error
        self.tensors = tensors
        self.batch_size = batch_size
        self.batch_edges = batch_edges
        self.batch_pairs = batch_pairs
        self.eval_batch_size = eval_batch_size
        self.cutoff = cutoff
        self.symmetry = symmetry
        self.resident = resident
        self.train_size = train_size
        self.train_ids = None if train_ids is None else Path(train_ids)
        self.subset = subset
        self.subset_seed = subset_seed
        if split == "published" and (split_fractions is not None or split_seed is not None):
            raise InputError(
                "data.split_fractions and data.split_seed are of seeded splits, but data.split is published; set "
                "data.split to seeded, or drop them"
            )
        self.split = split
        self.split_fractions = split_fractions
        self.split_seed = split_seed
        self.shuffle_seed = shuffle_seed
        self.indices: dict[str, NDArray[np.int64]] = {}
        self.finished: Mapping[str, str] = {}
        """Crystals that `predict` leaves out, because an earlier launch predicted them: ids and fingerprints."""
        self._on_device: ResidentStore | None = None
        self._materials: dict[tuple[str, ...] | None, tuple[CrystalStore, dict[str, NDArray[np.int64]]]] = {}
        """What was read, by the structure files that `predict` was given; None: the materials with spectra."""
        self.asked: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Crystals that `predict` was asked for, finished or not."""

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not used: Lightning's way of loading calls what a file names.

        Raises:
            InputError: Always.
        """
        raise InputError("build CrystalDataModule from its options; a checkpoint states them, but is not obeyed")

    def setup(self, stage: str) -> None:
        """Read the materials of a stage, and build graphs and splits; what an earlier stage has read is kept."""
        check_model(self.symmetry, None if self.trainer is None else self.trainer.lightning_module)
        crystals = tuple(self.crystals) if stage == "predict" and self.crystals is not None else None
        if crystals not in self._materials:
            self.indices = self._read_labelled(stage) if crystals is None else self._read_structures(crystals, stage)
            self._materials[crystals] = (self.store, self.indices)
            if self.store.orbits is not None:
                rank_zero_info(f"orbit graphs: {self.store.orbits.describe(self.store.sizes)}")
        store, self.indices = self._materials[crystals]
        if store is not self.store:
            self.store, self._on_device = store, None
        self.asked = self.indices["test"] if crystals is None else np.arange(len(store))
        self.indices["predict"] = self._unfinished(self.asked)
        if stage == "fit":
            self._note_training_materials()

    def _read_structures(self, crystals: Sequence[str], stage: str) -> dict[str, NDArray[np.int64]]:
        """Read structures without spectra, which belong to no split."""
        self._read(StructureFiles(crystals), stage)
        return {}

    def _read_labelled(self, stage: str) -> dict[str, NDArray[np.int64]]:
        """Read the materials with spectra; positions of their split, with the training subset."""
        indices = self._read_split(stage) if self.store_folder is None else self._open_split(self.store_folder)
        train = indices["train"]
        ids = names_array(self.store.material_ids)[train]
        indices["train"] = train[subset_rows(ids, self.train_ids, self.train_size, self.subset_seed, self.subset)]
        log.info("%d materials: %s", len(self.store), {name: indices[name].size for name in SPLIT_NAMES})
        return indices

    def _note_training_materials(self) -> None:
        """Check that every process can train, and write the ids of the training materials into the run's folder."""
        train = self.indices["train"]
        check_shares(train.size, self._rank()[1])
        if self.trainer is not None and self.trainer.is_global_zero:
            chosen = names_array(self.store.material_ids)[train].tolist()
            write_text(Path(self.trainer.default_root_dir) / TRAIN_IDS, "\n".join(chosen) + "\n")

    @property
    def source_name(self) -> str:
        """Where the labelled materials come from, in words; of a store, also what it was made from."""
        if self.store_folder is None:
            return type(self.source).__name__
        return f"{self.store_folder} ({read_metadata(self.store_folder).source})"

    def _read(self, source: RecordSource, stage: str) -> None:
        records = list(self._reporting(source, read_records(source, self.on_error, self.tensors)))
        if self.trainer is None:  # no folder of a run to write into
            if source.rejects:
                log.warning("%d materials were rejected, the first: %s", len(source.rejects), source.rejects[0])
        elif self.trainer.is_global_zero:
            source.report_rejects(Path(self.trainer.default_root_dir) / f"rejects_{TrainerFn(stage).value}.csv")
        self.store = CrystalStore.from_records(records, self.cutoff, tensors=self.tensors, symmetry=self.symmetry)

    def _reporting(self, source: RecordSource, records: Iterator[CrystalRecord]) -> Iterator[CrystalRecord]:
        """The records; where there are many, people see how far their reading has come."""
        total = source.size()
        if (total is not None and total < _MANY) or (self.trainer is not None and not self.trainer.is_global_zero):
            yield from records
            return
        with ProgressReporter("reading", total, "{} materials".format) as progress:
            for record in records:
                yield record
                progress.advance()

    def _read_split(self, stage: str) -> dict[str, NDArray[np.int64]]:
        """Read the source into memory; positions of its own split, or of one drawn by composition."""
        self._read(self.source, stage)
        ids = self.store.material_ids
        split = self.source.split() or self._drawn_split(ids, self.store.formulas)
        position = {material_id: row for row, material_id in enumerate(ids)}
        return {
            name: np.array([position[m] for m in split[name] if m in position], dtype=np.int64) for name in SPLIT_NAMES
        }

    def _drawn_split(self, ids: Sequence[str], formulas: Sequence[str]) -> dict[str, list[str]]:
        if self.split == "published":
            return published_split(ids, formulas)
        return composition_split(ids, formulas, self.split_fractions or SHARES, self.split_seed or 0)

    def _open_split(self, folder: Path) -> dict[str, NDArray[np.int64]]:
        """Open the store; positions of its split."""
        self.store, split = open_store(folder)
        check_store(self.store, folder, self.cutoff, self.tensors, self.symmetry)
        if self.symmetry == "full":
            self.store = replace(self.store, orbits=None)
        return split

    def _unfinished(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the crystals that are still to be predicted; one whose file was changed is not finished."""
        if not self.finished:
            return rows
        ids, store = self.store.material_ids, self.store
        return np.array([row for row in rows if self.finished.get(ids[row]) != store.fingerprint(row)], dtype=np.int64)

    def train_dataloader(self) -> TrainingLoader:
        """Batches of the training materials, shuffled, but for `trainer.overfit_batches`."""
        seed = self.shuffle_seed if self.shuffle_seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))
        overfit = bool(getattr(self.trainer, "overfit_batches", 0))
        return TrainingLoader(self._served(), self._training_batches(self.indices["train"], seed), not overfit)

    def _training_batches(self, train: NDArray[np.int64], seed: int) -> TrainingBatches:
        for column, budget in ((1, self.batch_edges), (2, self.batch_pairs)):
            if budget is not None:
                costs = self.store.sizes[train, column]
                return BudgetBatches(train, costs, budget, seed, self._position, *self._rank())
        return TrainingBatches(train, self.batch_size, seed, self._position, *self._rank())

    def val_dataloader(self) -> DataLoader[CrystalGraph]:
        """The validation materials, each once."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[CrystalGraph]:
        """The test materials, each once."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[CrystalGraph]:
        """The crystals asked for, or the test materials, each once."""
        return self._evaluation_loader("predict")

    def training_statistics(self) -> TrainingStatistics:
        """What a model remembers of the training materials."""
        return training_statistics(self.store, self.indices["train"])

    def _evaluation_loader(self, name: str) -> DataLoader[CrystalGraph]:
        rank, world_size = self._rank()
        num = self.indices[name].size
        if 0 < num < world_size:  # with none at all there is nothing to do, for any process
            raise InputError(
                f"{num} materials for {name} cannot be shared out among {world_size} processes; give "
                f"trainer.devices (times num_nodes) of at most {num}"
            )
        batches = EvaluationBatches(self.indices[name], self.eval_batch_size, rank, world_size)
        return evaluation_loader(self._served(), batches)

    def _served(self) -> AnyStore:
        """What batches are gathered from."""
        if not self.resident:
            return self.store
        if self._on_device is None:
            device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
            self._on_device = ResidentStore(self.store, device)
        return self._on_device

    def _rank(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _position(self) -> tuple[int, int]:
        """Epoch and batch of it that training needs next, also after a restart."""
        trainer: Any = self.trainer
        # Not from the total of batches: another number of processes has cut the epochs before into others.
        return trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready
