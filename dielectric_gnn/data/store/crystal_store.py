"""Many crystals as flat arrays: a batch is gathered by slicing instead of collating objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.graph import CrystalGraph, many_neighbour_edges
from dielectric_gnn.data.graphs.orbits import CrystalOrbits, Symmetry, find_orbits, trivial_orbits
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.remarks import structure_remarks
from dielectric_gnn.data.store.descriptions import SetKind, graph_sizes
from dielectric_gnn.data.store.flat import offsets, ragged_rows, segments
from dielectric_gnn.data.store.row_checksums import RowChecks
from dielectric_gnn.data.store.stored_orbits import OrbitBatch, StoredOrbits
from dielectric_gnn.data.store.targets import StoredAnisotropy, stacked_anisotropy, target_rows
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True, eq=False)
class CrystalStore:
    """The graphs of M crystals and, if labelled, their averaged targets.

    Shapes:
        atom_offsets, edge_offsets: (M + 1,), crystal m owns rows offset[m] to offset[m + 1].
        sizes: (M, 3), numbers of atoms, edges and three-body pairs of each crystal; see `graph_sizes`.
        volumes: (M,), cell volumes.
        atomic_numbers: (N,). edge_index: (2, E), atoms counted from 0 within their crystal.
        edge_vectors: (E, 3). eps_inter: (M, W, 2), float32 or float16, and drude: (M,), or None.
        fidelities: (M,), or None where all are of the highest, 0.

    Units:
        Å, Å³ and eV.

    Args:
        material_ids: One per crystal.
        formulas: Reduced formulas, one per crystal.
        cutoff: Neighbour cutoff the graphs were built with.
        grid: Photon energies of the targets.
        broadening: Γ of the targets in eV; None if the files do not state it.
        anisotropy: Deviators of the targets, if full tensors were read.
        orbits: Classes of equivalent atoms and edges; batches are then orbit graphs, see `data.graphs.orbits`.
        checks: For a store on disk, comparison of materials with their checksums before they are used.
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
    orbits: StoredOrbits | None = None
    checks: RowChecks | None = None
    fidelities: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.material_ids)

    @classmethod
    def from_records(
        cls,
        records: Iterable[CrystalRecord],
        cutoff: float,
        edge_dtype: type[np.floating] = np.float32,
        tensors: bool = False,
        symmetry: Symmetry = "full",
    ) -> CrystalStore:
        """Build the graphs of `records`, which must all be labelled or all be unlabelled.

        Args:
            records: The crystals.
            cutoff: Neighbour cutoff in Å.
            edge_dtype: Precision of the edge vectors; tests of symmetry use float64.
            tensors: Keep full tensors; the records come from `frames.with_full_tensors`.
            symmetry: `orbit` finds the classes of equivalent atoms and edges.

        Raises:
            InputError: No records, some labelled and some not, or two broadenings in one set.
        """
        records = list(records)
        if not records:
            raise InputError("the source holds no usable materials")
        kind = SetKind.from_record(records[0])
        for record in records:
            kind.check(SetKind.from_record(record))
        edges = many_neighbour_edges(records, cutoff)
        labels = [record.labels for record in records if record.labels is not None]
        targets = [target_rows(label) for label in labels]
        counts = [record.atomic_numbers.size for record in records]
        edge_counts = [index.shape[1] for index, _ in edges]
        edge_index = np.concatenate([index.T for index, _ in edges]).T
        edge_vectors = np.concatenate([vectors for _, vectors in edges])
        fidelities = np.array([record.fidelity for record in records], dtype=np.int64)
        orbits = None
        if symmetry == "orbit":
            found = (find_orbits(record.atomic_numbers, *graph) for record, graph in zip(records, edges, strict=True))
            orbits = StoredOrbits.from_crystals(list(found), edge_dtype)
        return cls(
            material_ids=[record.material_id for record in records],
            formulas=[record.formula for record in records],
            atom_offsets=offsets(counts),
            edge_offsets=offsets(edge_counts),
            sizes=graph_sizes(counts, edge_counts, edge_index[0], edge_vectors),
            volumes=np.array([record.volume for record in records], dtype=np.float32),
            atomic_numbers=np.concatenate([record.atomic_numbers for record in records]).astype(np.uint8),
            edge_index=edge_index,
            edge_vectors=edge_vectors.astype(edge_dtype),
            eps_inter=np.stack([eps for eps, _ in targets]) if labels else None,
            drude=np.array([drude for _, drude in targets], dtype=np.float32) if labels else None,
            cutoff=cutoff,
            grid=labels[0].grid if labels else EnergyGrid(),
            broadening=labels[0].broadening if labels else None,
            anisotropy=stacked_anisotropy(labels) if labels and tensors else None,
            orbits=orbits,
            fidelities=fidelities if fidelities.any() else None,
        )

    def gather(self, indices: Sequence[int] | NDArray[np.int64]) -> CrystalGraph:
        """The batch of the given crystals, in the order given.

        Args:
            indices: Positions in the store, (B,).

        Raises:
            InputError: The store is on disk, and one of the crystals is damaged there.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        self.check(chosen)
        graph = self._orbit_graph(chosen) or self._full_graph(chosen)
        return replace(
            graph,
            eps_inter=None if self.eps_inter is None else torch.from_numpy(self.eps_inter.take(chosen, axis=0)),
            drude=None if self.drude is None else torch.from_numpy(self.drude.take(chosen)),
            anisotropy=None if self.anisotropy is None else self.anisotropy.gather(chosen),
            volumes=torch.from_numpy(self.volumes.take(chosen)),
            fidelities=None if self.fidelities is None else torch.from_numpy(self.fidelities.take(chosen)),
        )

    def check(self, indices: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        """Compare crystals on disk with their checksums; call this before reading the arrays of a store.

        Args:
            indices: Positions in the store; None means all.

        Raises:
            InputError: One is damaged.
        """
        if self.checks is not None:
            self.checks.check(np.arange(len(self)) if indices is None else np.asarray(indices, dtype=np.int64))

    def _full_graph(self, chosen: NDArray[np.int64]) -> CrystalGraph:
        """The batch as a graph of all atoms and edges."""
        atoms, atom_counts = ragged_rows(self.atom_offsets, chosen)
        first_atom = np.cumsum(atom_counts) - atom_counts
        edges = self.edge_offsets.take(chosen), self.edge_offsets.take(chosen + 1)
        pairs = segments(self.edge_index.T, *edges)
        # A store on disk has rows of (source, target); models need two contiguous rows.
        edge_index = np.empty(pairs.shape[::-1], dtype=np.int64)
        edge_index[...] = pairs.T
        edge_index += np.repeat(first_atom, edges[1] - edges[0])
        return CrystalGraph(
            atomic_numbers=torch.from_numpy(self.atomic_numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(edge_index),
            edge_vectors=torch.from_numpy(segments(self.edge_vectors, *edges)),
            batch=torch.from_numpy(np.repeat(np.arange(chosen.size), atom_counts)),
            index=torch.tensor(chosen),
        )

    def _orbit_graph(self, chosen: NDArray[np.int64]) -> CrystalGraph | None:
        """The batch as a graph of classes of equivalent atoms and edges; None if that would not be faster."""
        if self.orbits is None or not self.orbits.is_worthwhile(chosen, self.sizes):
            return None
        parts = [self.orbits.crystal_orbits(row) for row in chosen.tolist()]
        crystals = [part or self._trivial_orbits(row) for part, row in zip(parts, chosen.tolist(), strict=True)]
        dtype = torch.float64 if self.edge_vectors.dtype == np.float64 else torch.float32
        graphs = OrbitBatch.from_crystals(crystals, dtype)
        vectors = torch.zeros(graphs.lengths.shape[0], 3, dtype=dtype)
        vectors[:, 0] = graphs.lengths
        index = torch.tensor(chosen)
        numbers, batch = graphs.atomic_numbers, graphs.batch
        return CrystalGraph(numbers, graphs.edge_index, vectors, batch, index, orbits=graphs.orbits)

    def _trivial_orbits(self, row: int) -> CrystalOrbits:
        """Orbits of size one, for a crystal without orbits in a batch of others."""
        atoms, edges = (slice(*bounds[row : row + 2]) for bounds in (self.atom_offsets, self.edge_offsets))
        return trivial_orbits(self.atomic_numbers[atoms], self.edge_index[:, edges], self.edge_vectors[edges])

    def elements(self, indices: Sequence[int] | NDArray[np.int64]) -> list[int]:
        """Atomic numbers that occur in the given crystals, sorted."""
        self.check(indices)
        rows, _ = ragged_rows(self.atom_offsets, np.asarray(indices, dtype=np.int64))
        return [int(number) for number in np.unique(self.atomic_numbers[rows])]

    def numbers_of(self, index: int) -> NDArray[np.uint8]:
        """Atomic numbers of one crystal, (n,)."""
        self.check([index])
        return self.atomic_numbers[slice(*self.atom_offsets[index : index + 2])]

    def remarks(self, index: int) -> list[str]:
        """Remarks on an unusual structure of one crystal; see `data.remarks`."""
        numbers, edges = self.numbers_of(index), slice(*self.edge_offsets[index : index + 2])
        num_neighbours = np.bincount(self.edge_index[0, edges], minlength=numbers.size)
        return structure_remarks(numbers, num_neighbours, float(self.volumes[index]), self.cutoff)

    def fingerprint(self, index: int) -> str:
        """A hash of the graph of one crystal, as text."""
        self.check([index])
        atoms, edges = (slice(*bounds[index : index + 2]) for bounds in (self.atom_offsets, self.edge_offsets))
        parts = (self.atomic_numbers[atoms], self.edge_index[:, edges].astype(np.int64), self.edge_vectors[edges])
        digest = hashlib.sha256()
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]
