"""Building a store from a data source, as `dielectric-gnn prepare build` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.label_options import InsulatorRule
from dielectric_gnn.data.option_values import check_at_least, check_cutoff, check_positive
from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, RecordSource, SyntheticMetals
from dielectric_gnn.data.sources.base import OnError, Tasks, existing_path, report_rejects
from dielectric_gnn.data.sources.parallel import chunks, ordered_map
from dielectric_gnn.data.sources.prepared_hdf5 import HDF5_FILES
from dielectric_gnn.data.splits import SPLIT_NAMES, SplitMethod, composition_split, published_split, read_ids
from dielectric_gnn.data.store.builder import StoreBuilder
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.metadata import SCHEMA, SpectraDtype, read_metadata
from dielectric_gnn.data.store.row_checksums import ROW_CHECKSUMS
from dielectric_gnn.data.store.rows import Recipe, identity, read_chunk
from dielectric_gnn.data.store.writer import MATERIALS_PER_CHUNK, SplitRule, add_chunk, check_target, finish_store
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.limits import MATERIAL_MB
from dielectric_gnn.utils.progress import ProgressReporter

SourceFormat = Literal["auto", "json", "hdf5"]
IdLists = Mapping[str, Sequence[str]]

SYNTHETIC = "synthetic:"
"""Prefix of names of synthetic sources, followed by the number of crystals."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of building a store.

    Args:
        cutoff: Neighbour cutoff of the graphs in Å.
        spectra: Precision of the spectra on disk.
        on_error: What happens at an unusable material: `raise` stops, `skip` lists it beside the store and continues.
        split: How the split is drawn if the source fixes none: as in the published study, or with a seed.
        split_seed: Seed of a seeded split; None means 0.
        id_lists: Material ids of train, val and test, instead of a drawn split.
        overwrite: Replace an existing store once the new one is complete.
        tensors: Keep full tensors beside their averages; materials whose tensors contradict the structure are rejected.
        workers: Number of processes, of one thread each; the store does not depend on it.
        restart: Discard an interrupted build instead of continuing it.
        symmetry: `orbit` adds the classes of symmetry-equivalent atoms and edges; see `data.graphs.orbits`.
        grid: Photon energies onto which the spectra are resampled; None keeps those of the source.
        insulators: See `LabelOptions`.
    """

    cutoff: float = DEFAULT_CUTOFF
    spectra: SpectraDtype = "float32"
    on_error: OnError = "raise"
    split: SplitMethod = "published"
    split_seed: int | None = None
    id_lists: IdLists | None = None
    overwrite: bool = False
    tensors: bool = False
    workers: int = 1
    restart: bool = False
    symmetry: Symmetry = "full"
    grid: EnergyGrid | None = None
    insulators: InsulatorRule | None = None


def choose_source(
    path: str,
    source_format: SourceFormat = "auto",
    broadening_ev: float | None = None,
    seed: int | None = None,
    rattle: float | None = None,
    max_mb: float = MATERIAL_MB,
) -> RecordSource:
    """The source that reads `path`: prepared HDF5 files if the folder holds any of them, else JSON entries.

    Args:
        path: Folder of JSON entries, archive of them, or folder with train.h5, val.h5 and test.h5; or `synthetic:N`.
        source_format: Format of the files; `auto` recognises it by the content of the folder.
        broadening_ev: Broadening Γ of the spectra in eV; None takes the value in JSON files, 0.1 eV for others.
        seed: Random seed of synthetic crystals; None means 0.
        rattle: Random displacements in synthetic crystals in Å; None means 0.
        max_mb: Largest material in MB; see the sources.

    Raises:
        InputError: The source does not exist, or an option does not apply to it or is out of range.
    """
    if broadening_ev is not None:
        check_positive(broadening_ev=broadening_ev)
    if path.startswith(SYNTHETIC):
        number = path.removeprefix(SYNTHETIC)
        if not number.isdecimal():
            raise InputError(f"source is {path!r}, expected {SYNTHETIC}NUMBER, as in {SYNTHETIC}20000")
        gamma = 0.1 if broadening_ev is None else broadening_ev
        return SyntheticMetals(int(number), seed or 0, rattle or 0.0, gamma)
    if seed is not None or rattle is not None:
        raise InputError(f"seed and rattle apply to {SYNTHETIC}NUMBER, but the source is {path}; remove them")
    found = existing_path(path)
    if source_format == "auto":
        source_format = "hdf5" if any((found / name).is_file() for name in HDF5_FILES.values()) else "json"
    if source_format == "json":
        return EntryJson(path, broadening_ev, max_mb=max_mb)
    return PreparedHDF5(path, 0.1 if broadening_ev is None else broadening_ev, max_mb)


def read_id_lists(paths: Sequence[Path]) -> IdLists:
    """Read the ids of train, val and test from three files, one id per line; empty lines are ignored.

    Raises:
        InputError: A file cannot be read or is empty, or an id is listed twice.
    """
    seen: dict[str, str] = {}
    lists = {}
    for name, path in zip(SPLIT_NAMES, paths, strict=True):
        lists[name] = read_ids(path)
        for row, material_id in enumerate(lists[name], start=1):
            if material_id in seen:
                raise InputError(f"{path}: id number {row}, {material_id!r}, is listed already in {seen[material_id]}")
            seen[material_id] = str(path)
    return lists


def build_store(source: RecordSource, folder: Path, options: BuildOptions, title: str) -> list[RecordError]:
    """Read `source` and write its store to `folder`; rejected materials are listed in `FOLDER_rejects.csv`.

    An interrupted build is continued when this is called again, if the source has independent tasks
    (`RecordSource.tasks`). The store is the same, byte by byte, as that of an uninterrupted build, and does not depend
    on the number of processes.

    The split is that of the source if it fixes one; else `options.id_lists`; else it is drawn by composition,
    80/10/10, with the method `options.split`.

    Args:
        source: The materials.
        folder: Folder of the new store.
        options: Options of the build.
        title: Description of the source, for the metadata.

    Returns:
        The rejected materials.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message states how many materials are kept.
        InputError: As `write_store`; the split does not match the materials; or there is an unfinished build with
            other options.
    """
    check_cutoff(options.cutoff)
    check_at_least(1, workers=options.workers)
    check_at_least(0, split_seed=options.split_seed)
    if options.split == "published" and options.split_seed is not None:
        raise InputError("split_seed applies to seeded splits; set split to seeded, or remove the seed")
    if len(source.fidelity_weights) > 1:
        raise InputError(
            f"{type(source).__name__} joins several fidelities, which a store does not hold; prepare its first source "
            "only, or use it as data.source"
        )
    folder = folder.expanduser().resolve()
    check_target(folder, options.overwrite)
    split = _stated_split(source, options)
    source.use_grid(options.grid)
    tasks = source.tasks()
    labels = (options.grid, options.insulators)
    recipe = Recipe(options.cutoff, options.spectra, options.tensors, options.symmetry, *labels)
    plan = {
        "source": "" if tasks is None else tasks.fingerprint,
        "layout": [SCHEMA, MATERIALS_PER_CHUNK, ROW_CHECKSUMS],
        **asdict(recipe),
    }
    restart = options.restart or tasks is None
    rejects = folder.with_name(f"{folder.name}_rejects.csv")
    with StoreBuilder(folder, recipe, plan, restart) as unfinished:
        try:
            _read_remaining(unfinished, source, tasks, options)
            unfinished.resampling.log()
            rejected = [*source.rejects, *unfinished.rejects]
            rule = _split_rule(split, options, len(rejected))
            report_rejects(rejected, rejects)
            finish_store(
                unfinished, rule if tasks is None else partial(_split_or_keep_materials, rule, unfinished.folder), title
            )
        except BaseException as error:
            kept = 0 if tasks is None else len(unfinished.ids)
            if not kept:
                unfinished.discard()
            if isinstance(error, KeyboardInterrupt):
                where = f" in {unfinished.folder}; repeat the same command to continue" if kept else ""
                raise KeyboardInterrupt(f"stopped; {kept} materials are kept{where}") from None
            raise
        unfinished.discard()
    return rejected


def _read_remaining(unfinished: StoreBuilder, source: RecordSource, tasks: Tasks | None, options: BuildOptions) -> None:
    """Read the materials that are not in the unfinished store yet."""
    items: Iterable[Any] = source.records(options.on_error) if tasks is None else tasks.items
    make = partial(read_chunk, unfinished.recipe, identity if tasks is None else tasks.read, options.on_error)
    with ProgressReporter("reading", source.size(), "{} materials".format, done=unfinished.num_items) as progress:
        rest = chunks(islice(items, unfinished.num_items, None), MATERIALS_PER_CHUNK)
        several = options.workers > 1
        with closing(ordered_map(make, rest, options.workers) if several else (make(part) for part in rest)) as made:
            if options.on_error == "raise" and unfinished.rejects:
                raise unfinished.rejects[0]
            for chunk in made:
                add_chunk(unfinished, chunk, options.on_error)
                progress.advance(chunk.num_items)
        # Materials that are rejected by a source without tasks are in no chunk.
        progress.advance(len(source.rejects))


def describe_store(folder: Path) -> str:
    """Description of a store in a few lines: source, materials per split, sizes, units and precision."""
    metadata = read_metadata(folder)
    store, split = open_store(folder)
    num_bytes = sum(file.stat().st_size for file in folder.expanduser().iterdir())
    sizes = ", ".join(f"{split[name].size} {name}" for name in SPLIT_NAMES)
    broadening = "unknown" if store.broadening is None else f"{store.broadening:g} eV"
    formulas = np.unique(names_array(store.formulas)).size
    largest = ", ".join(map("{} {}".format, store.sizes.max(axis=0), ("atoms", "edges", "pairs")))
    elements = sorted(metadata.elements.items(), key=lambda item: item[1])
    rare = ", ".join(f"{symbol} {count}" for symbol, count in elements[:3])
    return "\n".join(
        [
            f"source: {metadata.source}",
            f"materials: {len(store)} ({sizes}), {formulas} formulas",
            f"atoms: {metadata.num_atoms}, edges: {metadata.num_edges} within {store.cutoff:g} Å, three-body pairs: "
            f"{metadata.num_pairs} within {metadata.three_body_cutoff:g} Å; at most {largest} per material",
            f"orbits: {'none' if store.orbits is None else store.orbits.describe(store.sizes)}",
            f"elements: {len(elements)}, the rarest in {rare} materials",
            f"spectra: {metadata.spectra_dtype}, {store.grid}, broadening {broadening}, {_tensor_words(store)}",
            f"size: {num_bytes / 1e6:.1f} MB, {num_bytes / len(store):.0f} bytes per material",
        ]
    )


def _tensor_words(store: CrystalStore) -> str:
    if store.anisotropy is None:
        return "averages over directions"
    known = store.anisotropy.component_mask
    return f"full tensors of {known.all(axis=1).sum()} materials, the diagonal of {known.any(axis=1).sum()} at least"


def _stated_split(source: RecordSource, options: BuildOptions) -> IdLists | None:
    """The split fixed by the source or given by the user; None if it is to be drawn."""
    fixed = source.split()
    if fixed is None:
        return options.id_lists
    if options.id_lists is None and options.split_seed is None:
        return fixed
    raise InputError("the source fixes the split; remove the id lists and the seed of the split")


def _split_rule(lists: IdLists | None, options: BuildOptions, num_rejects: int) -> SplitRule:
    if lists is None:
        if options.split == "published":
            return published_split
        return partial(composition_split, seed=options.split_seed or 0)
    return lambda ids, _: _without_rejected(lists, ids, num_rejects)


def _split_or_keep_materials(rule: SplitRule, folder: Path, ids: Sequence[str], formulas: Sequence[str]) -> IdLists:
    """The split by `rule`; if it fails, the message states that the materials read are kept."""
    try:
        return rule(ids, formulas)
    except InputError as error:
        raise InputError(
            f"{error}; {folder} keeps the {len(ids)} materials for the same command with another split; for another "
            "source or other options, discard it with --restart"
        ) from error


def _without_rejected(lists: IdLists, ids: Sequence[str], num_rejects: int) -> IdLists:
    """The lists without rejected materials; every material must be listed, and no list may become empty."""
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
