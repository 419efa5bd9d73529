"""Writing a `CrystalStore` to disk as a stream: no more than one material is in memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dielectric_gnn.data.graph import neighbour_edges
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.data.store import anisotropy_rows, check_alike, target_rows
from dielectric_gnn.data.store_files import METADATA, SCHEMA, SpectraDtype, StoreMetadata
from dielectric_gnn.errors import InputError, RecordError
from dielectric_gnn.files import write_text
from dielectric_gnn.grid import EnergyGrid

SplitRule = Callable[[Sequence[str], Sequence[str]], Mapping[str, Sequence[str]]]
"""From all material ids and reduced formulas, in one order, to the ids of `train`, `val` and `test`."""


def write_store(
    folder: Path,
    records: Iterable[CrystalRecord],
    cutoff: float,
    split: SplitRule,
    spectra_dtype: SpectraDtype = "float32",
    source: str = "",
    overwrite: bool = False,
    tensors: bool = False,
) -> None:
    """Build the graphs of `records` and write them as a store, one material at a time.

    Everything goes into a temporary folder beside `folder`, which is renamed when it is complete.

    Args:
        folder: The store to make.
        records: The crystals, all labelled or all unlabelled.
        cutoff: Neighbour cutoff in Å.
        split: Called once, at the end.
        spectra_dtype: float16 halves the store and keeps three digits.
        source: Said in the metadata.
        overwrite: Replace an existing store.
        tensors: Keep whole tensors; the records come from `frames.with_whole_tensors`.

    Raises:
        InputError: The folder exists, there are no records, they do not go together (see `check_alike`), a value does
            not fit into float16, or the split names an unknown material or one twice.
    """
    folder = folder.expanduser().resolve()
    check_free(folder, overwrite)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        with _Writer(temporary, cutoff, spectra_dtype, tensors) as writer:
            for record in records:
                writer.add(record)
            writer.finish(split, source)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename the complete store, and only then delete the one that it replaces."""
    if not folder.exists():
        temporary.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old)


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise InputError unless a store may be written at `folder`."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise InputError(f"{folder}: exists already; choose another name, or ask for it to be overwritten")
    if not (folder / METADATA).is_file():
        raise InputError(f"{folder}: exists and is not a store, so it is not overwritten")


class GrowingArray:
    """A .npy file that grows row by row; the header is written again when the number of rows is known."""

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._rows = 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, *row_shape)."""
        self._file.write(rows.astype(self._dtype).tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        """State the number of rows and force the file to disk."""
        with self._file:
            self._file.seek(0)
            self._write_header()
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write_header(self) -> None:
        # NumPy pads the header so that the length of the first axis can grow to any size in place.
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


class _Writer:
    """Appends crystals to the arrays of one folder; as a context, closes the files."""

    def __init__(self, folder: Path, cutoff: float, spectra_dtype: SpectraDtype, tensors: bool) -> None:
        self.folder = folder
        self.cutoff = cutoff
        self.spectra_dtype = spectra_dtype
        self.tensors = tensors
        self.first: CrystalRecord | None = None
        self.ids: list[str] = []
        self.formulas: list[str] = []
        self.atom_offsets = [0]
        self.edge_offsets = [0]
        self._files = ExitStack()
        self._arrays: dict[str, GrowingArray] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, record: CrystalRecord) -> None:
        """Append one crystal."""
        if self.first is None:
            self.first = record
            self._open(record.labels)
        check_alike(self.first, record)
        index, vectors = neighbour_edges(record, self.cutoff)
        self._arrays["atomic_numbers"].append(record.atomic_numbers)
        self._arrays["edge_index"].append(index.T)
        self._arrays["edge_vectors"].append(vectors)
        if record.labels is not None:
            eps, drude = target_rows(record.labels)
            self._arrays["eps_inter"].append(self._checked(eps, record)[None])
            self._arrays["drude"].append(np.array([drude]))
            if self.tensors:
                deviator, root, known = anisotropy_rows(record.labels)
                self._arrays["eps_deviator"].append(self._checked(deviator, record)[None])
                self._arrays["drude_root"].append(root[None])
                self._arrays["known"].append(known[None])
        self.ids.append(record.material_id)
        self.formulas.append(record.formula)
        self.atom_offsets.append(self.atom_offsets[-1] + record.atomic_numbers.size)
        self.edge_offsets.append(self.edge_offsets[-1] + index.shape[1])

    def finish(self, split: SplitRule, source: str) -> None:
        """Write what is known at the end: offsets, names, split and metadata."""
        if self.first is None:
            raise InputError("the source holds no usable materials")
        labels = self.first.labels
        metadata = self._metadata(labels, source)
        for name, positions in _positions(split(self.ids, self.formulas), self.ids).items():
            self._save(f"split_{name}", positions)
        self._save("material_ids", np.array(self.ids))
        self._save("formulas", np.array(self.formulas))
        self._save("atom_offsets", np.array(self.atom_offsets, dtype=np.int64))
        self._save("edge_offsets", np.array(self.edge_offsets, dtype=np.int64))
        write_text(self.folder / METADATA, json.dumps(asdict(metadata), indent=1) + "\n")

    def _metadata(self, labels: OpticalLabels | None, source: str) -> StoreMetadata:
        grid = labels.grid if labels else EnergyGrid()
        return StoreMetadata(
            schema=SCHEMA,
            source=source,
            cutoff=self.cutoff,
            grid=(grid.start, grid.stop, grid.num),
            broadening=labels.broadening if labels else None,
            spectra_dtype=self.spectra_dtype if labels else None,
            tensors=self.tensors and labels is not None,
            num_materials=len(self.ids),
            num_atoms=self.atom_offsets[-1],
            num_edges=self.edge_offsets[-1],
        )

    def _open(self, labels: OpticalLabels | None) -> None:
        self._grow("atomic_numbers", np.uint8)
        self._grow("edge_index", np.int32, 2)
        self._grow("edge_vectors", np.float32, 3)
        if labels is not None:
            self._grow("eps_inter", self.spectra_dtype, labels.grid.num, 2)
            self._grow("drude", np.float32)
            if self.tensors:
                self._grow("eps_deviator", self.spectra_dtype, 5, labels.grid.num, 2)
                self._grow("drude_root", np.float32, 6)
                self._grow("known", np.bool_, 5)

    def _grow(self, name: str, dtype: DTypeLike, *row_shape: int) -> None:
        array = GrowingArray(self.folder / f"{name}.npy", dtype, row_shape)
        self._files.callback(array.close)
        self._arrays[name] = array

    def _save(self, name: str, values: NDArray[Any]) -> None:
        np.save(self.folder / f"{name}.npy", values, allow_pickle=False)

    def _checked(self, eps: NDArray[np.float32], record: CrystalRecord) -> NDArray[np.float32]:
        """`eps`, if its values fit into the precision of the store."""
        largest, limit = float(np.abs(eps).max()), float(np.finfo(self.spectra_dtype).max)
        if largest > limit:
            problem = f"|eps| reaches {largest:.3g}, but {self.spectra_dtype} ends at {limit:.3g}; use float32 spectra"
            raise RecordError(f"{record.source} ({record.material_id})".lstrip(), problem)
        return eps


def _positions(split: Mapping[str, Sequence[str]], ids: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The split as positions in the store; a material may be on one side only."""
    position = {material_id: row for row, material_id in enumerate(ids)}
    seen: dict[str, str] = {}
    for name in SPLIT_NAMES:
        for material_id in split[name]:
            if material_id not in position:
                raise InputError(f"the split puts {material_id!r} into {name}, but no such material was read")
            if material_id in seen:
                raise InputError(f"the split puts {material_id!r} into {seen[material_id]} and into {name}")
            seen[material_id] = name
    return {name: np.array([position[m] for m in split[name]], dtype=np.int64) for name in SPLIT_NAMES}
