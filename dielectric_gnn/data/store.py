"""Many crystals as flat arrays: a batch is gathered by slicing, not by collating objects one by one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graph import CrystalGraph, neighbour_edges
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.store_facts import SetKind, graph_sizes
from dielectric_gnn.errors import InputError
from dielectric_gnn.grid import EnergyGrid
from dielectric_gnn.irreducible import DIAGONAL_PARTS, FROM_CARTESIAN
from dielectric_gnn.response import Anisotropy


@dataclass(frozen=True, eq=False)
class StoredAnisotropy:
    """The parts of the targets of M crystals that `response.Anisotropy` describes.

    Shapes:
        eps_deviator: (M, 5, W, 2), float32 or float16. drude_root: (M, 6) in eV. known: (M, 5) bool.
    """

    eps_deviator: NDArray[np.floating]
    drude_root: NDArray[np.float32]
    known: NDArray[np.bool_]

    def gather(self, chosen: NDArray[np.int64]) -> Anisotropy:
        """Those of the chosen crystals."""
        return Anisotropy(
            _widened(_shared(self.eps_deviator), chosen),
            torch.from_numpy(self.drude_root[chosen]),
            torch.from_numpy(self.known[chosen]),
        )


@dataclass(frozen=True, eq=False)
class CrystalStore:
    """The graphs, and where known the averaged targets, of M crystals.

    Shapes:
        atom_offsets, edge_offsets: (M + 1,), crystal m owns rows offset[m] to offset[m + 1].
        sizes: (M, 3), how many atoms, edges and three-body pairs each crystal has; see `graph_sizes`.
        volumes: (M,), of the cells.
        atomic_numbers: (N,). edge_index: (2, E), atoms counted from 0 within their crystal.
        edge_vectors: (E, 3). eps_inter: (M, W, 2), float32 or float16, and drude: (M,), or None.

    Units:
        Å, Å³ and eV.

    Args:
        material_ids: One per crystal.
        formulas: Reduced formulas, one per crystal.
        cutoff: Neighbour cutoff the graphs were built with.
        grid: Photon energies of the targets.
        broadening: Γ of the targets in eV; None if the files do not say.
        anisotropy: What the average leaves out, where whole tensors were read.
    """

    material_ids: Sequence[str]
    formulas: Sequence[str]
    atom_offsets: NDArray[np.int64]
    edge_offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]
    volumes: NDArray[np.float32]
    atomic_numbers: NDArray[np.uint8]
    edge_index: NDArray[np.integer]
    edge_vectors: NDArray[np.floating]
    eps_inter: NDArray[np.floating] | None
    drude: NDArray[np.float32] | None
    cutoff: float
    grid: EnergyGrid
    broadening: float | None
    anisotropy: StoredAnisotropy | None = None

    def __len__(self) -> int:
        return len(self.material_ids)

    @classmethod
    def from_records(
        cls,
        records: Iterable[CrystalRecord],
        cutoff: float,
        edge_dtype: type[np.floating] = np.float32,
        tensors: bool = False,
    ) -> CrystalStore:
        """Build the graphs of `records`, which must all be labelled or all be unlabelled.

        Args:
            records: The crystals.
            cutoff: Neighbour cutoff in Å.
            edge_dtype: Precision of the edge vectors; tests of symmetry want float64.
            tensors: Keep whole tensors; the records come from `frames.with_whole_tensors`.

        Raises:
            InputError: No records, some labelled and some not, or two broadenings in one set.
        """
        records = list(records)
        if not records:
            raise InputError("the source holds no usable materials")
        kind = SetKind.of(records[0])
        for record in records:
            kind.check(SetKind.of(record))
        edges = [neighbour_edges(record, cutoff) for record in records]
        labels = [record.labels for record in records if record.labels is not None]
        targets = [target_rows(label) for label in labels]
        counts = [record.atomic_numbers.size for record in records]
        sizes = [graph_sizes(n, index[0], vectors) for n, (index, vectors) in zip(counts, edges, strict=True)]
        return cls(
            material_ids=[record.material_id for record in records],
            formulas=[record.formula for record in records],
            atom_offsets=offsets(counts),
            edge_offsets=offsets([index.shape[1] for index, _ in edges]),
            sizes=np.array(sizes, dtype=np.int32),
            volumes=np.array([record.volume for record in records], dtype=np.float32),
            atomic_numbers=np.concatenate([record.atomic_numbers for record in records]).astype(np.uint8),
            edge_index=np.concatenate([index for index, _ in edges], axis=1),
            edge_vectors=np.concatenate([vectors for _, vectors in edges]).astype(edge_dtype),
            eps_inter=np.stack([eps for eps, _ in targets]) if labels else None,
            drude=np.array([drude for _, drude in targets], dtype=np.float32) if labels else None,
            cutoff=cutoff,
            grid=labels[0].grid if labels else EnergyGrid(),
            broadening=labels[0].broadening if labels else None,
            anisotropy=_stack_anisotropy(labels) if labels and tensors else None,
        )

    def gather(self, indices: Sequence[int] | NDArray[np.int64]) -> CrystalGraph:
        """The batch of the given crystals, in the order given.

        Args:
            indices: Positions in the store, (B,).
        """
        chosen = np.asarray(indices, dtype=np.int64)
        atoms, atom_counts = ragged_rows(self.atom_offsets, chosen)
        first_atom = np.cumsum(atom_counts) - atom_counts
        shifts = np.repeat(first_atom, self.edge_offsets[chosen + 1] - self.edge_offsets[chosen])
        # The store on disk holds edges one after another; models want two contiguous rows.
        edge_index = np.add(segments(self.edge_index.T, self.edge_offsets, chosen).T, shifts, order="C")
        return CrystalGraph(
            atomic_numbers=torch.from_numpy(self.atomic_numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(edge_index),
            edge_vectors=torch.from_numpy(segments(self.edge_vectors, self.edge_offsets, chosen)),
            batch=torch.from_numpy(np.repeat(np.arange(chosen.size), atom_counts)),
            index=torch.tensor(chosen),
            eps_inter=None if self._eps_inter is None else _widened(self._eps_inter, chosen),
            drude=None if self.drude is None else torch.from_numpy(self.drude[chosen]),
            anisotropy=None if self.anisotropy is None else self.anisotropy.gather(chosen),
        )

    @cached_property
    def _eps_inter(self) -> Tensor | None:
        return None if self.eps_inter is None else _shared(self.eps_inter)

    def elements(self, indices: Sequence[int] | NDArray[np.int64]) -> list[int]:
        """Atomic numbers that occur in the given crystals, sorted."""
        rows, _ = ragged_rows(self.atom_offsets, np.asarray(indices, dtype=np.int64))
        return [int(number) for number in np.unique(self.atomic_numbers[rows])]

    def numbers_of(self, index: int) -> NDArray[np.uint8]:
        """Atomic numbers of one crystal, (n,)."""
        return self.atomic_numbers[slice(*self.atom_offsets[index : index + 2])]

    def fingerprint(self, index: int) -> str:
        """A text that tells the graph of one crystal from any other."""
        atoms, edges = (slice(*bounds[index : index + 2]) for bounds in (self.atom_offsets, self.edge_offsets))
        parts = (self.atomic_numbers[atoms], self.edge_index[:, edges].astype(np.int64), self.edge_vectors[edges])
        digest = hashlib.sha256()
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]


def _shared(array: NDArray[Any]) -> Tensor:
    """A tensor on the memory of an array, which may be a read-only file; it is read from, and never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


def _widened(rows: Tensor, chosen: NDArray[np.int64]) -> Tensor:
    """Some rows in single precision; PyTorch widens half precision five times faster than NumPy."""
    return rows.index_select(0, torch.tensor(chosen)).float()


def target_rows(labels: OpticalLabels) -> tuple[NDArray[np.float32], float]:
    """What a model learns of one material: the orientation average of ε (W, 2), Re and Im, and of ω_D in eV."""
    eps, drude = labels.average()
    return np.stack([eps.real, eps.imag], axis=-1).astype(np.float32), drude


def anisotropy_rows(labels: OpticalLabels) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """What the average of a material leaves out: deviator of ε (5, W, 2), root of ω_D² (6,) in eV, what is known (5,).

    Of labels that are averages, or a diagonal not yet resolved, nothing is known.
    """
    known = np.zeros(5, dtype=bool)
    if labels.num_components < 6:
        root = np.array([labels.average()[1], 0, 0, 0, 0, 0])
        return np.zeros((5, labels.grid.num, 2), np.float32), root.astype(np.float32), known
    known[list(DIAGONAL_PARTS) if labels.diagonal_only else slice(None)] = True
    deviator = FROM_CARTESIAN[1:] @ labels.eps_inter
    root = FROM_CARTESIAN @ labels.drude
    return np.stack([deviator.real, deviator.imag], axis=-1).astype(np.float32), root.astype(np.float32), known


def _stack_anisotropy(labels: Sequence[OpticalLabels]) -> StoredAnisotropy:
    deviators, roots, known = zip(*map(anisotropy_rows, labels), strict=True)
    return StoredAnisotropy(np.stack(deviators), np.stack(roots), np.stack(known))


def offsets(counts: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each of M segments begins among all rows, and where the last ends: (M + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def segments(rows: NDArray[Any], bounds: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[Any]:
    """The rows of the chosen segments one after another; copied whole, which for edges is faster than row by row."""
    ends = zip(bounds[chosen].tolist(), bounds[chosen + 1].tolist(), strict=True)
    return np.concatenate([rows[:0], *(rows[start:stop] for start, stop in ends)])


def ragged_rows(bounds: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers that the chosen segments own, one after another, and how many each owns."""
    starts = bounds[chosen]
    counts = bounds[chosen + 1] - starts
    shift = starts - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts), counts
