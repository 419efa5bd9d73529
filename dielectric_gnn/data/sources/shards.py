"""Labelled materials in one small file: the format of the embedded data set.

Half precision keeps three digits of a spectrum (relative error at most 4.9e-4). Neighbouring energies have nearly the
same bits, so their differences compress best, low and high bytes apart: 4 to 8 kB for one material with 2001 energies
and one to three distinct axes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources.npz_files import read_npz
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.files import write_atomically

PART_NAME = "metals_{}.npz"
COARSE_NAME = "coarse_{}.npz"
"""Numbered files of the embedded set, and of the embedded metals with coarse k meshes."""


def write_shard(path: Path, records: Sequence[CrystalRecord]) -> None:
    """Write labelled materials of one grid and broadening, as `.npz` without pickles.

    Axes of a crystal that share a spectrum (all three of a cubic one) store it once.

    Args:
        path: The file.
        records: At least one record; all have labels.

    Raises:
        ValueError: A record has no labels, or another grid or broadening than the first.
    """
    labels = [record.labels for record in records if record.labels is not None]
    if len(labels) < len(records) or not labels:
        raise ValueError("a record has no labels")
    if len({(label.grid, label.broadening) for label in labels}) > 1:
        raise ValueError("the records have several grids or broadenings")
    grid = labels[0].grid
    spectra, spectrum_of_axis = unique_axes([label.eps_inter for label in labels])
    bits = spectra.astype(np.float16).view(np.uint16)
    differences = np.diff(bits, axis=-1, prepend=np.uint16(0)).astype("<u2")
    sizes = [record.atomic_numbers.size for record in records]
    arrays: dict[str, Any] = {
        "material_ids": np.array([record.material_id for record in records]),
        "lattices": np.stack([record.lattice for record in records]),
        "atom_offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        "atomic_numbers": np.concatenate([record.atomic_numbers for record in records]).astype(np.uint8),
        "positions": np.concatenate([record.positions for record in records]),
        "drude": np.stack([label.drude for label in labels]).astype(np.float32),
        "spectrum_of_axis": spectrum_of_axis,
        "spectra_bits_differences": np.stack([differences & 0xFF, differences >> 8]).astype(np.uint8),
        "grid": np.array([grid.start, grid.stop, grid.num], dtype=np.float64),
        "broadening": np.array(labels[0].broadening),
        "metadata": np.array(json.dumps([dict(record.metadata) for record in records])),
    }
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays))


def read_shard(path: Path, source: str = "") -> Iterator[CrystalRecord]:
    """The materials that `write_shard` wrote.

    Args:
        path: The file.
        source: Where the records say that they come from; the default is the path.

    Raises:
        RecordError: The file is damaged or not a shard, or a material is unusable.
    """
    arrays = read_npz(path)
    try:
        yield from _records(arrays, source or str(path))
    except RecordError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        reason = str(error).strip().split("\n")[0]
        raise RecordError(str(path), f"not a file of labelled materials ({type(error).__name__}: {reason})") from error


def material_ids(path: Path) -> list[str]:
    """Ids of the materials of a file, without decoding the spectra."""
    with np.load(path, allow_pickle=False) as arrays:
        ids: list[str] = arrays["material_ids"].tolist()
    return ids


def _records(arrays: Mapping[str, NDArray[Any]], source: str) -> Iterator[CrystalRecord]:
    low, high = arrays["spectra_bits_differences"].astype(np.uint16)
    bits = np.cumsum(low | high << 8, axis=-1, dtype=np.uint16)
    spectra = bits.view(np.float16).astype(np.float32)
    start, stop, num = arrays["grid"].tolist()
    grid = EnergyGrid(start, stop, int(num))
    offsets = arrays["atom_offsets"].tolist()
    metadata = json.loads(str(arrays["metadata"]))
    for row, material_id in enumerate(arrays["material_ids"].tolist()):
        atoms = slice(offsets[row], offsets[row + 1])
        eps = spectra[arrays["spectrum_of_axis"][row]].astype(np.float64)
        yield CrystalRecord(
            material_id=material_id,
            lattice=arrays["lattices"][row],
            atomic_numbers=arrays["atomic_numbers"][atoms].astype(np.int64),
            positions=arrays["positions"][atoms],
            labels=OpticalLabels(
                eps[:, 0] + 1j * eps[:, 1], arrays["drude"][row].astype(np.float64), grid, float(arrays["broadening"])
            ),
            metadata=metadata[row],
            source=source,
        )


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
