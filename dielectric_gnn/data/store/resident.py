"""A store in the memory of a device, where batches are gathered: only indices are transferred per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.flat import as_tensor_view
from dielectric_gnn.targets.response import Anisotropy
from dielectric_gnn.utils.errors import InputError

_MEMORY_HEADROOM_FACTOR = 2
"""Required free memory as a multiple of the size of the data: model and training steps need some."""


class ResidentStore:
    """Gathers the batches of a store on a device, equal to those of the store itself.

    Gathering needs no synchronisation, because the numbers of atoms and edges of a batch are known from the store.

    Args:
        store: Store of full graphs.
        device: Device for the data.

    Raises:
        InputError: The device has too little free memory, or a material is damaged on disk.
    """

    def __init__(self, store: CrystalStore, device: torch.device) -> None:
        store.check()
        self.store, self.device = store, device
        anisotropy = store.anisotropy
        parts: list[Any] = [store.edge_vectors, store.edge_index, store.atomic_numbers, store.eps_inter, store.drude]
        parts += (
            [] if anisotropy is None else [anisotropy.eps_deviator, anisotropy.drude_root, anisotropy.component_mask]
        )
        _check_memory(sum(part.nbytes for part in parts if part is not None), device)
        self.atom_offsets = self._to_device(store.atom_offsets)
        self.edge_offsets = self._to_device(store.edge_offsets)
        self.atomic_numbers = self._to_device(store.atomic_numbers)
        # PyTorch computes with few unsigned types.
        self.edge_index = self._to_device(store.edge_index.T.astype(np.int32))
        self.edge_vectors = self._to_device(store.edge_vectors)
        self.eps_inter = None if store.eps_inter is None else self._to_device(store.eps_inter)
        self.drude = None if store.drude is None else self._to_device(store.drude)
        self.volumes = self._to_device(store.volumes)
        self.fidelities = None if store.fidelities is None else self._to_device(store.fidelities)
        self.anisotropy = None
        if anisotropy is not None:
            eps, drude = self._to_device(anisotropy.eps_deviator), self._to_device(anisotropy.drude_root)
            self.anisotropy = Anisotropy(eps, drude, self._to_device(anisotropy.component_mask))

    def gather(self, indices: Sequence[int] | NDArray[np.int64]) -> CrystalGraph:
        """The batch of the given crystals, in the order given.

        Args:
            indices: Positions in the store, (B,).
        """
        chosen = np.asarray(indices, dtype=np.int64)
        num_atoms, num_edges = self.store.sizes[chosen, :2].sum(axis=0, dtype=np.int64).tolist()
        index = torch.tensor(chosen).to(self.device, non_blocking=True)
        atoms, atom_counts = _ragged_rows(self.atom_offsets, index, num_atoms)
        edges, edge_counts = _ragged_rows(self.edge_offsets, index, num_edges)
        first_atom = (atom_counts.cumsum(0) - atom_counts).repeat_interleave(edge_counts, output_size=num_edges)
        batch = torch.arange(chosen.size, device=self.device)

        def chosen_rows(values: Tensor) -> Tensor:
            return values.index_select(0, index)

        return CrystalGraph(
            atomic_numbers=self.atomic_numbers.index_select(0, atoms).long(),
            edge_index=(self.edge_index.index_select(0, edges) + first_atom[:, None]).T.contiguous(),
            edge_vectors=self.edge_vectors.index_select(0, edges),
            batch=batch.repeat_interleave(atom_counts, output_size=num_atoms),
            index=index,
            eps_inter=None if self.eps_inter is None else self.eps_inter.index_select(0, index),
            drude=None if self.drude is None else self.drude.index_select(0, index),
            anisotropy=None
            if self.anisotropy is None
            else self.anisotropy.map(lambda rows: rows.index_select(0, index)),
            volumes=self.volumes.index_select(0, index),
            fidelities=None if self.fidelities is None else self.fidelities.index_select(0, index),
        )

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return as_tensor_view(np.ascontiguousarray(array)).to(self.device)


def _ragged_rows(bounds: Tensor, index: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Row numbers of the chosen segments, `total` of them, and the number of rows of each."""
    starts = bounds.index_select(0, index)
    counts = bounds.index_select(0, index + 1) - starts
    shift = (starts - (counts.cumsum(0) - counts)).repeat_interleave(counts, output_size=total)
    return torch.arange(total, device=bounds.device) + shift, counts


def _check_memory(num_bytes: int, device: torch.device) -> None:
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if free < _MEMORY_HEADROOM_FACTOR * num_bytes:
        raise InputError(
            f"data.resident would take {num_bytes / 1e9:.1f} GB of the {free / 1e9:.1f} GB that are free on {device}, "
            "which leaves too little for training; set it to false, or build the store with --spectra float16"
        )
