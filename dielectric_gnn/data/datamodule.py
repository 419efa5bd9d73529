"""The LightningDataModule of the package: reads a source of materials, and returns batches of crystal graphs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dielectric_gnn.data.checks import check_fidelities, check_model, check_store, check_training_size
from dielectric_gnn.data.fidelities import (
    FidelityBatches,
    describe_fidelities,
    highest_fidelity_rows,
    lower_fidelity_rows,
)
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.label_options import InsulatorRule, LabelOptions, read_records
from dielectric_gnn.data.option_values import check_at_least, check_at_most_one, check_cutoff
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
    read_split,
    split_positions,
    subset_rows,
)
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.data.store.metadata import read_metadata
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.utils.errors import InputError, naming_skip
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.progress import ProgressReporter

log = logging.getLogger(__name__)

TRAIN_IDS = "train_ids.txt"
"""Name of the file in the run folder that lists the training materials, one id per line."""


_MIN_MATERIALS_FOR_PROGRESS = 500
"""Reading fewer materials than this shows no progress."""


class CrystalDataModule(LightningDataModule):
    """Reads materials, builds their graphs, splits them, and returns data loaders of batches.

    Args:
        source: Source of the labelled materials, by class path; null takes the embedded metals.
        store: Folder written by `dielectric-gnn prepare`, with its split; used in place of source.
        crystals: Structure files and folders that `predict` reads instead of the test set.
        on_error: What happens at an unusable material: `raise` stops, `skip` lists it in rejects.csv and continues.
        tensors: Read full tensors for heads that predict them, and check that label and lattice refer to the same
            axes; otherwise, read the averages over directions. A store must have been built with the same choice.
        batch_size: Crystals per training batch (and process), at least 2.
        batch_edges: Largest number of edges per training batch (and process), in place of batch_size, so that time
            and memory of a step depend little on the size of the crystals.
        batch_pairs: Likewise, largest number of three-body pairs.
        eval_batch_size: Crystals per batch of validation, test and prediction.
        cutoff: Neighbour cutoff of the graphs (Å).
        symmetry: `orbit` evaluates symmetry-equivalent atoms, edges and angles of a crystal once, which gives the same
            results many times faster for symmetric crystals; for invariant backbones. A store must have been built
            with it.
        resident: Keep all materials in the memory of the device (GPU), and gather batches there.
        train_size: Number of training materials; null takes all.
        subset: How the training materials are drawn. `nested`: smaller sets are subsets of larger ones; `published`: as
            in the published study (arXiv:2602.05702).
        train_ids: File with the ids of the training materials, one per line, in place of train_size; for example a
            published subset, or train_ids.txt from the folder of another run.
        subset_seed: Seed of the permutation of which a nested subset takes the first `train_size` materials.
        split: How materials are split by formula where the source fixes no split. `published`: as in the published
            study, 80/10/10; `seeded`: by the next two options.
        split_fractions: Shares of train, validation and test of a seeded split; null means 80/10/10.
        split_seed: Seed of a seeded split; null means 0.
        split_ids: JSON file with lists of ids under `train`, `val` and `test`, in place of the split of source or
            store; materials that it does not list are left out.
        shuffle_seed: Seed of the order of training batches; null takes seed_everything.
        grid: Photon energies (eV) onto which the spectra of every material are resampled, nothing extrapolated; null
            keeps those of the source or store.
        insulators: `drude_zero` sets the Drude frequency of materials whose file states a band gap above 0 to 0; null
            leaves their labels as they are.
        all_as: `test` makes every labelled material, of which one is enough, a test material, without any split.
        max_batch_share: Largest share of the training materials in one step of all processes; a batch_size above it is
            reduced, so that a small training set gets enough steps. Null leaves batch_size as it is.
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
        split_ids: str | None = None,
        shuffle_seed: int | None = None,
        grid: EnergyGrid | None = None,
        insulators: InsulatorRule | None = None,
        all_as: Literal["test"] | None = None,
        max_batch_share: float | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 2 or eval_batch_size < 1:
            raise InputError(
                f"batch_size is {batch_size} and eval_batch_size {eval_batch_size}, expected at least 2 (batch norm "
                "cannot train on one crystal) and 1"
            )
        if max_batch_share is not None and not 0 < max_batch_share <= 1:
            raise InputError(
                f"data.max_batch_share is {max_batch_share}, expected a share above 0 and at most 1, or null"
            )
        check_cutoff(cutoff)
        check_at_least(0, subset_seed=subset_seed, split_seed=split_seed, shuffle_seed=shuffle_seed)
        check_at_least(1, batch_edges=batch_edges, batch_pairs=batch_pairs)
        if store is not None and insulators is not None:
            raise InputError(
                f"data.insulators is {insulators}, but the labels of a store are as it was built; set it to null, and "
                "build the store with --insulators"
            )
        check_at_most_one(source=None if source is None else type(source).__name__, store=store)
        if resident and symmetry == "orbit":
            raise InputError(
                "data.resident is true, which needs full graphs, but data.symmetry is orbit; change one of them"
            )
        check_at_most_one(train_size=train_size, train_ids=train_ids)
        check_at_most_one(batch_edges=batch_edges, batch_pairs=batch_pairs)
        self.source = source or ExampleMetals()
        self.store_folder = None if store is None else Path(store)
        self.crystals = list(crystals) if crystals else None
        self.on_error = on_error
        self.tensors = tensors
        self.batch_size = batch_size
        self.max_batch_share = max_batch_share
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
                "data.split_fractions and data.split_seed apply to seeded splits, but data.split is published; set "
                "data.split to seeded, or remove them"
            )
        self.split = split
        self.split_fractions = split_fractions
        self.split_seed = split_seed
        self.split_ids = None if split_ids is None else Path(split_ids)
        self.shuffle_seed = shuffle_seed
        self.all_as = all_as
        self.labels = LabelOptions(grid, tensors, insulators)
        self.indices: dict[str, NDArray[np.int64]] = {}
        self.finished: Mapping[str, str] = {}
        """Crystals that an earlier launch of `predict` finished, and that are skipped: fingerprints by id."""
        self._on_device: ResidentStore | None = None
        self._materials: dict[tuple[str, ...] | None, tuple[CrystalStore, dict[str, NDArray[np.int64]]]] = {}
        """Materials read so far, by the structure files given to `predict`; None is the key of labelled materials."""
        self.requested: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Positions of all crystals requested from `predict`, including finished ones."""

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused, because Lightning's loading would call functions that the file names.

        Raises:
            InputError: Always.
        """
        raise InputError("build CrystalDataModule from its options; it is not loaded from checkpoints")

    def setup(self, stage: str) -> None:
        """Read the materials of a stage, and build graphs and splits; materials of an earlier stage are kept."""
        if self.all_as == "test" and stage in ("fit", "validate"):
            raise InputError(f"data.all_as is test, so there are no materials for {stage}; set it to null")
        model = None if self.trainer is None else self.trainer.lightning_module
        check_model(self.symmetry, model)
        if stage == "fit" and self.store_folder is None:
            check_fidelities(len(self.source.fidelity_weights), model)
        crystals = tuple(self.crystals) if stage == "predict" and self.crystals is not None else None
        if crystals not in self._materials:
            self.indices = self._read_labelled(stage) if crystals is None else self._read_structures(crystals, stage)
            self._materials[crystals] = (self.store, self.indices)
            if self.store.orbits is not None:
                rank_zero_info(f"orbit graphs: {self.store.orbits.describe(self.store.sizes)}")
        store, self.indices = self._materials[crystals]
        if store is not self.store:
            self.store, self._on_device = store, None
        self.requested = self.indices["test"] if crystals is None else np.arange(len(store))
        self.indices["predict"] = self._unfinished(self.requested)
        if stage == "fit":
            self._note_training_materials()

    def _read_structures(self, crystals: Sequence[str], stage: str) -> dict[str, NDArray[np.int64]]:
        """Read structures without spectra, which belong to no split."""
        self._read(StructureFiles(crystals), stage)
        return {}

    def _read_labelled(self, stage: str) -> dict[str, NDArray[np.int64]]:
        """Read the materials with spectra; positions of their split, with the training subset."""
        indices = self._read_split(stage) if self.store_folder is None else self._open_split(self.store_folder)
        if self.all_as == "test":
            log.info("%d materials, all of them for test", len(self.store))
            none = np.empty(0, dtype=np.int64)
            return {"train": none, "val": none, "test": np.arange(len(self.store))}
        if self.split_ids is not None:
            indices = split_positions(read_split(self.split_ids), self.store.material_ids)
        train = indices["train"]
        ids = names_array(self.store.material_ids)[train]
        indices["train"] = train[subset_rows(ids, self.train_ids, self.train_size, self.subset_seed, self.subset)]
        log.info("%d materials: %s", len(self.store), {name: indices[name].size for name in SPLIT_NAMES})
        return indices

    def _note_training_materials(self) -> None:
        """Check that every process can train, and write the ids of the training materials into the run's folder."""
        train = self.indices["train"]
        check_training_size(train.size, self._rank()[1])
        if lower := self.lower_fidelities():
            rank_zero_info(describe_fidelities(self.store, train, lower, self.source.fidelity_weights))
        if self.trainer is not None and self.trainer.is_global_zero:
            chosen = names_array(self.store.material_ids)[train].tolist()
            write_text(Path(self.trainer.default_root_dir) / TRAIN_IDS, "\n".join(chosen) + "\n")

    @property
    def source_name(self) -> str:
        """Description of the source of the labelled materials; for a store, with the source that it was built from."""
        if self.store_folder is None:
            return type(self.source).__name__
        return f"{self.store_folder} ({read_metadata(self.store_folder).source})"

    def _read(self, source: RecordSource, stage: str) -> None:
        with naming_skip(self.on_error, "--data.on_error"):
            records = list(self._with_progress(source, read_records(source, self.on_error, self.labels)))
        if self.trainer is None:  # no folder of a run to write into
            if source.rejects:
                log.warning("%d materials were rejected, the first: %s", len(source.rejects), source.rejects[0])
        elif self.trainer.is_global_zero:
            source.report_rejects(Path(self.trainer.default_root_dir) / f"rejects_{TrainerFn(stage).value}.csv")
        self.store = CrystalStore.from_records(records, self.cutoff, tensors=self.tensors, symmetry=self.symmetry)

    def _with_progress(self, source: RecordSource, records: Iterator[CrystalRecord]) -> Iterator[CrystalRecord]:
        """The records; reports progress if there are many."""
        total = source.size()
        if (total is not None and total < _MIN_MATERIALS_FOR_PROGRESS) or (
            self.trainer is not None and not self.trainer.is_global_zero
        ):
            yield from records
            return
        with ProgressReporter("reading", total, "{} materials".format) as progress:
            for record in records:
                yield record
                progress.advance()

    def _read_split(self, stage: str) -> dict[str, NDArray[np.int64]]:
        """Read the source into memory; positions of its own split, or of one drawn by composition."""
        joint = stage == TrainerFn.FITTING and self.all_as is None  # lower fidelities are for training only
        self._read(self.source if joint else self.source.highest_fidelity(), stage)
        if self.all_as is not None or self.split_ids is not None:
            return {}
        rows = highest_fidelity_rows(self.store).tolist()
        position = {self.store.material_ids[row]: row for row in rows}
        formulas = [self.store.formulas[row] for row in rows]
        split = self.source.split() or self._drawn_split(list(position), formulas)
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
        check_store(self.store, folder, self.cutoff, self.tensors, self.symmetry, self.labels.grid)
        if self.symmetry == "full":
            self.store = replace(self.store, orbits=None)
        return split

    def _unfinished(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The crystals to be predicted: those that are not finished, or whose structure has changed since."""
        if not self.finished:
            return rows
        ids, store = self.store.material_ids, self.store
        return np.array([row for row in rows if self.finished.get(ids[row]) != store.fingerprint(row)], dtype=np.int64)

    def train_dataloader(self) -> TrainingLoader:
        """Batches of the training materials, shuffled, but for `trainer.overfit_batches`."""
        seed = self.shuffle_seed if self.shuffle_seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))
        overfit = bool(getattr(self.trainer, "overfit_batches", 0))
        return TrainingLoader(self._batch_store(), self._training_batches(self.indices["train"], seed), not overfit)

    def _training_batches(self, train: NDArray[np.int64], seed: int) -> TrainingBatches:
        lower = self.lower_fidelities()
        if lower and (self.batch_edges or self.batch_pairs):
            raise InputError(
                "data.batch_edges and data.batch_pairs do not apply to several fidelities; set data.batch_size instead"
            )
        for column, budget in ((1, self.batch_edges), (2, self.batch_pairs)):
            if budget is not None:
                costs = self.store.sizes[train, column]
                return BudgetBatches(train, costs, budget, seed, self._position, *self._rank())
        if (size := self.training_batch_size) < self.batch_size:
            rank_zero_info(
                f"data.batch_size is {self.batch_size}, reduced to {size}, so that a step takes at most "
                f"{self.max_batch_share:g} of the {train.size} training materials; set data.max_batch_share to null to "
                "keep it"
            )
        if lower:
            weights = self.source.fidelity_weights
            return FidelityBatches(train, lower, weights, size, seed, self._position, *self._rank())
        return TrainingBatches(train, size, seed, self._position, *self._rank())

    def lower_fidelities(self) -> list[NDArray[np.int64]]:
        """Positions of training materials of every lower fidelity, which are not in `indices`."""
        return lower_fidelity_rows(self.store, self.indices, len(self.source.fidelity_weights))

    @property
    def training_batch_size(self) -> int:
        """Crystals per training batch and process: `batch_size`, within `max_batch_share`."""
        if self.max_batch_share is None:
            return self.batch_size
        materials = self.indices["train"].size // self._rank()[1]
        return min(self.batch_size, max(2, int(self.max_batch_share * materials)))

    def val_dataloader(self) -> DataLoader[CrystalGraph]:
        """The validation materials, each once."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[CrystalGraph]:
        """The test materials, each once."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[CrystalGraph]:
        """The requested crystals, or the test materials, each once."""
        return self._evaluation_loader("predict")

    def training_statistics(self) -> TrainingStatistics:
        """Statistics of the training materials that are stored in the checkpoint."""
        return training_statistics(self.store, self.indices["train"])

    def _evaluation_loader(self, name: str) -> DataLoader[CrystalGraph]:
        rank, world_size = self._rank()
        num = self.indices[name].size
        if 0 < num < world_size:  # with none at all there is nothing to do, for any process
            raise InputError(
                f"{num} materials for {name} cannot be distributed over {world_size} processes; set "
                f"trainer.devices (times num_nodes) of at most {num}"
            )
        batches = EvaluationBatches(self.indices[name], self.eval_batch_size, rank, world_size)
        return evaluation_loader(self._batch_store(), batches)

    def _batch_store(self) -> AnyStore:
        """The store that batches are gathered from: in main memory or on the device."""
        if not self.resident:
            return self.store
        if self._on_device is None:
            device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
            self._on_device = ResidentStore(self.store, device)
        return self._on_device

    def _rank(self) -> tuple[int, int]:
        """Rank of this process and number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _position(self) -> tuple[int, int]:
        """Epoch, and number of its next batch, also after a restart."""
        trainer: Any = self.trainer
        # Not from the total of batches: another number of processes has cut the epochs before into others.
        return trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready
