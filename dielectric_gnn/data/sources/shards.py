"""One labelled material as one small file, as it is computed and later packed into an embedded data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources.example import undo_axes, unique_axes
from dielectric_gnn.data.sources.npz_files import read_npz
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.files import write_atomically


def write_shard(path: Path, record: CrystalRecord) -> None:
    """Write a labelled material in half precision, as `.npz` without pickles.

    Half precision keeps three digits. Neighbouring energies have nearly the same bits, so their differences compress
    best, low and high bytes apart: 4 to 8 kB for 2001 energies and one to three distinct axes.

    Args:
        path: The file.
        record: A record with labels.

    Raises:
        ValueError: The record has no labels.
    """
    labels = record.labels
    if labels is None:
        raise ValueError(f"{record.material_id} has no labels")
    spectra, spectrum_of_axis = unique_axes([labels.eps_inter])
    bits = spectra.astype(np.float16).view(np.uint16)
    differences = np.diff(bits, axis=-1, prepend=np.uint16(0)).astype("<u2")
    arrays: dict[str, Any] = {
        "lattice": record.lattice,
        "atomic_numbers": record.atomic_numbers.astype(np.uint8),
        "positions": record.positions,
        "drude": labels.drude.astype(np.float32),
        "spectrum_of_axis": spectrum_of_axis[0],
        "grid": np.array([labels.grid.start, labels.grid.stop, labels.grid.num], dtype=np.float64),
        "broadening": np.array(labels.broadening),
        "spectra_bits_differences": np.stack([differences & 0xFF, differences >> 8]).astype(np.uint8),
    }
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays))


def read_shard(path: Path) -> CrystalRecord:
    """The material that `write_shard` wrote; its name is that of the file.

    Raises:
        RecordError: The file is damaged or not a shard, or the material is unusable.
    """
    arrays = read_npz(path)
    try:
        return _record(path, arrays)
    except RecordError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        reason = str(error).strip().split("\n")[0]
        raise RecordError(str(path), f"not a shard of one material ({type(error).__name__}: {reason})") from error


def _record(path: Path, arrays: Mapping[str, NDArray[Any]]) -> CrystalRecord:
    low, high = arrays["spectra_bits_differences"].astype(np.uint16)
    bits = np.cumsum(low | high << 8, axis=-1, dtype=np.uint16)
    spectra = bits.view(np.float16).astype(np.float32)
    start, stop, num = arrays["grid"].tolist()
    return CrystalRecord(
        material_id=path.stem,
        lattice=arrays["lattice"],
        atomic_numbers=arrays["atomic_numbers"].astype(np.int64),
        positions=arrays["positions"],
        labels=OpticalLabels(
            undo_axes(spectra, arrays["spectrum_of_axis"][None])[0],
            arrays["drude"].astype(np.float64),
            EnergyGrid(start, stop, int(num)),
            float(arrays["broadening"]),
        ),
        source=str(path),
    )
