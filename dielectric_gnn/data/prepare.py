"""From published files to a store on disk: what `tools/prepare_data.py` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from dielectric_gnn.data.frames import read_records
from dielectric_gnn.data.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, RecordSource
from dielectric_gnn.data.sources.base import OnError, existing_path
from dielectric_gnn.data.sources.prepared_hdf5 import HDF5_FILES
from dielectric_gnn.data.splits import SPLIT_NAMES, composition_split
from dielectric_gnn.data.store import CrystalStore
from dielectric_gnn.data.store_files import SpectraDtype, open_store, read_metadata
from dielectric_gnn.data.store_writer import SplitRule, check_free, write_store
from dielectric_gnn.errors import InputError
from dielectric_gnn.meter import Meter

SourceFormat = Literal["auto", "json", "hdf5"]
IdLists = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class BuildOptions:
    """How a store is made.

    Args:
        cutoff: Neighbour cutoff of the graphs in Å.
        spectra: Precision of the spectra on disk.
        on_error: A material that cannot be used: `raise` stops, `skip` lists it beside the store and goes on.
        split_seed: Of the split, where one is drawn; None means 0.
        id_lists: Material ids of train, val and test, instead of a split that is drawn.
        overwrite: Replace an existing store.
        tensors: Keep whole tensors beside their averages; files whose tensors contradict the structure are bad.
    """

    cutoff: float = DEFAULT_CUTOFF
    spectra: SpectraDtype = "float32"
    on_error: OnError = "raise"
    split_seed: int | None = None
    id_lists: IdLists | None = None
    overwrite: bool = False
    tensors: bool = False


def choose_source(
    path: str, source_format: SourceFormat = "auto", broadening_ev: float | None = None, workers: int = 1
) -> RecordSource:
    """The source that reads `path`: prepared HDF5 files if the folder holds any of them, else JSON entries.

    Args:
        path: Folder of JSON entries, archive of them, or folder with train.h5, val.h5 and test.h5.
        source_format: Instead of looking.
        broadening_ev: Γ of the spectra in eV; None takes what the files state, or 0.1 eV for HDF5.
        workers: Processes that read JSON.
    """
    found = existing_path(path)
    if source_format == "auto":
        source_format = "hdf5" if any((found / name).is_file() for name in HDF5_FILES.values()) else "json"
    if source_format == "json":
        return EntryJson(path, broadening_ev, workers)
    if workers > 1:
        raise InputError(f"workers is {workers}, but HDF5 files are read by one process")
    return PreparedHDF5(path) if broadening_ev is None else PreparedHDF5(path, broadening_ev)


def read_id_lists(paths: Sequence[Path]) -> IdLists:
    """Read the ids of train, val and test from three files, one id per line; empty lines do not count.

    Raises:
        InputError: A file cannot be read or is empty, or an id is listed twice.
    """
    seen: dict[str, str] = {}
    lists = {}
    for name, path in zip(SPLIT_NAMES, paths, strict=True):
        try:
            ids = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a readable list of ids ({error})") from error
        if not ids:
            raise InputError(f"{path}: the list is empty")
        for row, material_id in enumerate(ids, start=1):
            if material_id in seen:
                raise InputError(f"{path}: id number {row}, {material_id!r}, is listed already in {seen[material_id]}")
            seen[material_id] = str(path)
        lists[name] = ids
    return lists


def build_store(source: RecordSource, folder: Path, options: BuildOptions, title: str) -> None:
    """Read `source` once and write its store to `folder`; rejected materials are listed in `FOLDER_rejects.csv`.

    The split is the one that the source fixes; else `options.id_lists`; else drawn by composition, 80/10/10.

    Args:
        source: The materials.
        folder: The store to make.
        options: How.
        title: The source in words, for the metadata.

    Raises:
        InputError: As `write_store`, or the split does not fit the materials.
    """
    if options.cutoff <= 0:
        raise InputError(f"cutoff is {options.cutoff} Å, expected more than 0")
    folder = folder.expanduser().resolve()
    check_free(folder, options.overwrite)
    rule = _split_rule(source, options)
    rejects = folder.with_name(f"{folder.name}_rejects.csv")
    rejects.unlink(missing_ok=True)
    try:
        records = _counted(source, options.on_error, options.tensors)
        write_store(folder, records, options.cutoff, rule, options.spectra, title, options.overwrite, options.tensors)
    finally:
        source.report_rejects(rejects)


def describe_store(folder: Path) -> str:
    """What a store holds, in a few lines: source, materials per split, sizes, units and precision."""
    metadata = read_metadata(folder)
    store, split = open_store(folder)
    num_bytes = sum(file.stat().st_size for file in folder.expanduser().iterdir())
    sizes = ", ".join(f"{split[name].size} {name}" for name in SPLIT_NAMES)
    broadening = "unknown" if store.broadening is None else f"{store.broadening:g} eV"
    return "\n".join(
        [
            f"source: {metadata.source}",
            f"materials: {len(store)} ({sizes}), {len(set(store.formulas))} formulas",
            f"atoms: {metadata.num_atoms}, edges: {metadata.num_edges} within {store.cutoff:g} Å",
            f"spectra: {metadata.spectra_dtype}, {store.grid}, broadening {broadening}, {_tensor_words(store)}",
            f"size: {num_bytes / 1e6:.1f} MB, {num_bytes / len(store):.0f} bytes per material",
        ]
    )


def _tensor_words(store: CrystalStore) -> str:
    if store.anisotropy is None:
        return "averages over directions"
    known = store.anisotropy.known
    return f"whole tensors of {known.all(axis=1).sum()} materials, the diagonal of {known.any(axis=1).sum()} at least"


def _counted(source: RecordSource, on_error: OnError, tensors: bool) -> Iterator[CrystalRecord]:
    with Meter("reading", source.size(), "{} materials".format) as meter:
        kept = 0
        for record in read_records(source, on_error, tensors):
            yield record
            kept += 1
            meter.advance(kept + len(source.rejects) - meter.done)
        meter.advance(kept + len(source.rejects) - meter.done)


def _split_rule(source: RecordSource, options: BuildOptions) -> SplitRule:
    fixed = source.split()
    if fixed is None:
        lists = options.id_lists
    elif options.id_lists is None and options.split_seed is None:
        lists = fixed
    else:
        raise InputError("the source fixes the split; drop the id lists and the seed of the split")
    if lists is None:
        return partial(composition_split, seed=options.split_seed or 0)
    return lambda ids, _: _fitted(lists, ids, len(source.rejects))


def _fitted(lists: IdLists, ids: Sequence[str], num_rejects: int) -> IdLists:
    """The lists without the rejected materials; every material must be listed and every list must keep some."""
    listed, known = {material_id for name in SPLIT_NAMES for material_id in lists[name]}, set(ids)
    unknown = sorted(listed - known)
    if len(unknown) > num_rejects:
        raise InputError(
            f"{len(unknown)} ids of the split, the first {unknown[0]!r}, were not read"
            + (f", but only {num_rejects} materials were rejected" if num_rejects else "")
        )
    missing = [material_id for material_id in ids if material_id not in listed]
    if missing:
        raise InputError(f"{len(missing)} materials, the first {missing[0]!r}, are in no list of the split")
    fitted = {name: [material_id for material_id in lists[name] if material_id in known] for name in SPLIT_NAMES}
    for name, kept in fitted.items():
        if not kept:
            raise InputError(f"no usable material is left for {name}")
    return fitted
