"""The embedded data set: ab initio spectra of 102 metals and intermetallics, shipped inside the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources.base import OnError, RecordSource
from dielectric_gnn.data.sources.npz_files import read_npz
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.files import write_atomically, write_text

_FOLDER = resources.files("dielectric_gnn.data") / "example"
_ARRAYS = "metals_gpaw.npz"
_SPLIT = "split.json"


class ExampleMetals(RecordSource):
    """The embedded metals (GPAW, PBE, independent-particle approximation, Γ = 0.3 eV; CC0).

    For tests and demonstrations; `data/example/README.md` in the package describes the calculations. The split into
    training, validation and test is fixed by material id, and all materials of one composition are in the same part.
    """

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """All 102 materials, with the response along each axis."""
        with resources.as_file(_FOLDER / _ARRAYS) as path:
            arrays = read_npz(path)
        metadata = json.loads(str(arrays["metadata"]))
        start, stop, num = arrays["grid"].tolist()
        grid = EnergyGrid(start, stop, int(num))
        eps = undo_axes(arrays["spectra"], arrays["spectrum_of_axis"])
        offsets = arrays["atom_offsets"]
        for row, material_id in enumerate(arrays["material_ids"].tolist()):
            atoms = slice(offsets[row], offsets[row + 1])
            yield CrystalRecord(
                material_id=material_id,
                lattice=arrays["lattices"][row],
                atomic_numbers=arrays["atomic_numbers"][atoms].astype(np.int64),
                positions=arrays["positions"][atoms],
                labels=OpticalLabels(
                    eps[row], arrays["drude"][row].astype(np.float64), grid, float(arrays["broadening"])
                ),
                metadata=metadata[material_id],
                source="embedded metals",
            )

    def split(self) -> dict[str, list[str]]:
        """The fixed split."""
        split: dict[str, list[str]] = json.loads((_FOLDER / _SPLIT).read_text(encoding="utf-8"))
        return split


def write_example(folder: Path, records: Sequence[CrystalRecord], split: dict[str, list[str]]) -> None:
    """Pack labelled records into the files that `ExampleMetals` reads; spectra become float32.

    Axes that share a spectrum (all three of a cubic crystal) store it once.
    """
    labels = [record.labels for record in records if record.labels is not None]
    spectra, spectrum_of_axis = unique_axes([label.eps_inter for label in labels])
    grid = labels[0].grid
    metadata = {record.material_id: dict(record.metadata) for record in records}
    sizes = [record.atomic_numbers.size for record in records]
    arrays: dict[str, Any] = {
        "material_ids": np.array([record.material_id for record in records]),
        "lattices": np.stack([record.lattice for record in records]),
        "atom_offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        "atomic_numbers": np.concatenate([record.atomic_numbers for record in records]).astype(np.uint8),
        "positions": np.concatenate([record.positions for record in records]),
        "spectra": spectra,
        "spectrum_of_axis": spectrum_of_axis,
        "drude": np.stack([label.drude for label in labels]).astype(np.float32),
        "grid": np.array([grid.start, grid.stop, grid.num]),
        "broadening": np.array(labels[0].broadening),
        "metadata": np.array(json.dumps(metadata)),
    }

    def save(path: Path) -> None:
        np.savez_compressed(path, allow_pickle=False, **arrays)

    write_atomically(folder / _ARRAYS, save)
    write_text(folder / _SPLIT, json.dumps(split, indent=1) + "\n")


def unique_axes(eps: Sequence[NDArray[np.complex128]]) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Distinct spectra (S, 2, W) and, for every crystal and axis, which of them it is (M, 3)."""
    distinct: dict[bytes, int] = {}
    spectra: list[NDArray[np.float32]] = []
    which: list[int] = []
    for crystal in eps:
        parts = np.stack([crystal.real, crystal.imag], axis=1).astype(np.float32)
        for axis in parts:
            key = axis.tobytes()
            if key not in distinct:
                distinct[key] = len(spectra)
                spectra.append(axis)
            which.append(distinct[key])
    return np.stack(spectra), np.array(which, dtype=np.int16).reshape(len(eps), -1)


def undo_axes(spectra: NDArray[np.float32], which: NDArray[np.int16]) -> NDArray[np.complex128]:
    """(M, 3, W) complex from what `unique_axes` returned."""
    parts = spectra[which].astype(np.float64)
    return parts[:, :, 0] + 1j * parts[:, :, 1]
