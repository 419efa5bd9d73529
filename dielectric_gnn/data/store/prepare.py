"""From published files to a store on disk: what `dielectric-gnn prepare` does."""

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
from dielectric_gnn.data.option_values import check_cutoff, check_positive, check_whole
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
from dielectric_gnn.data.store.rows import Recipe, itself, make_chunk
from dielectric_gnn.data.store.writer import CHUNK, SplitRule, check_free, finish, take
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.limits import MATERIAL_MB
from dielectric_gnn.utils.progress import ProgressReporter

SourceFormat = Literal["auto", "json", "hdf5"]
IdLists = Mapping[str, Sequence[str]]

SYNTHETIC = "synthetic:"
"""What names of synthetic sources begin with; the number of crystals follows."""


@dataclass(frozen=True)
class BuildOptions:
    """How a store is made.

    Args:
        cutoff: Neighbour cutoff of the graphs in Å.
        spectra: Precision of the spectra on disk.
        on_error: A material that cannot be used: `raise` stops, `skip` lists it beside the store and goes on.
        split: How a split is drawn, where the source fixes none: as in the published study, or with a seed.
        split_seed: Of a seeded split; None means 0.
        id_lists: Material ids of train, val and test, instead of a split that is drawn.
        overwrite: Replace an existing store, when the new one is complete.
        tensors: Keep whole tensors beside their averages; files whose tensors contradict the structure are bad.
        workers: Processes that read and compute, of one thread each; the store does not depend on it.
        restart: Discard what an interrupted build left, instead of going on from there.
        symmetry: `orbit` adds which atoms and edges are alike, for invariant networks; see `data.orbits`.
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
        source_format: Instead of looking.
        broadening_ev: Γ of the spectra in eV; None takes what the files state, or 0.1 eV for HDF5 and synthetic data.
        seed: Of synthetic crystals; None means 0.
        rattle: Of synthetic crystals in Å; None means 0.
        max_mb: Largest material in MB; see the sources.

    Raises:
        InputError: The source does not exist, or an option is not for it or out of range.
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
        raise InputError(f"seed and rattle belong to {SYNTHETIC}NUMBER, but the source is {path}; drop them")
    found = existing_path(path)
    if source_format == "auto":
        source_format = "hdf5" if any((found / name).is_file() for name in HDF5_FILES.values()) else "json"
    if source_format == "json":
        return EntryJson(path, broadening_ev, max_mb=max_mb)
    return PreparedHDF5(path, 0.1 if broadening_ev is None else broadening_ev, max_mb)


def read_id_lists(paths: Sequence[Path]) -> IdLists:
    """Read the ids of train, val and test from three files, one id per line; empty lines do not count.

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

    A build that was interrupted, at whatever moment, goes on where it was when this is called again, if the source can
    be read in pieces (`RecordSource.tasks`); the store is the same, byte by byte, as that of a build in one go, and
    does not depend on the number of processes.

    The split is the one that the source fixes; else `options.id_lists`; else drawn by composition as `options.split`
    says, 80/10/10.

    Args:
        source: The materials.
        folder: The store to make.
        options: How.
        title: The source in words, for the metadata.

    Returns:
        The rejected materials.

    Raises:
        KeyboardInterrupt: Ctrl-C; it says what is kept.
        InputError: As `write_store`, or the split does not fit the materials, or an unfinished build of another kind
            is in the way.
    """
    check_cutoff(options.cutoff)
    check_whole(1, workers=options.workers)
    check_whole(0, split_seed=options.split_seed)
    if options.split == "published" and options.split_seed is not None:
        raise InputError("split_seed is of seeded splits; set split to seeded, or drop the seed")
    folder = folder.expanduser().resolve()
    check_free(folder, options.overwrite)
    split = _stated_split(source, options)
    tasks = source.tasks()
    recipe = Recipe(options.cutoff, options.spectra, options.tensors, options.symmetry)
    plan = {
        "source": "" if tasks is None else tasks.fingerprint,
        "layout": [SCHEMA, CHUNK, ROW_CHECKSUMS],
        **asdict(recipe),
    }
    restart = options.restart or tasks is None
    rejects = folder.with_name(f"{folder.name}_rejects.csv")
    with StoreBuilder(folder, recipe, plan, restart) as unfinished:
        try:
            _fill(unfinished, source, tasks, options)
            rejected = [*source.rejects, *unfinished.rejects]
            rule = _split_rule(split, options, len(rejected))
            report_rejects(rejected, rejects)
            finish(unfinished, rule if tasks is None else partial(_kept, rule, unfinished.folder), title)
        except BaseException as error:
            kept = 0 if tasks is None else len(unfinished.ids)
            if not kept:
                unfinished.discard()
            if isinstance(error, KeyboardInterrupt):
                where = f" in {unfinished.folder}, and the same command goes on from there" if kept else ""
                raise KeyboardInterrupt(f"stopped; {kept} materials are kept{where}") from None
            raise
        unfinished.discard()
    return rejected


def _fill(unfinished: StoreBuilder, source: RecordSource, tasks: Tasks | None, options: BuildOptions) -> None:
    """Read what is not in the unfinished store yet."""
    items: Iterable[Any] = source.records(options.on_error) if tasks is None else tasks.items
    make = partial(make_chunk, unfinished.recipe, itself if tasks is None else tasks.read, options.on_error)
    with ProgressReporter("reading", source.size(), "{} materials".format, done=unfinished.num_items) as progress:
        rest = chunks(islice(items, unfinished.num_items, None), CHUNK)
        several = options.workers > 1
        with closing(ordered_map(make, rest, options.workers) if several else (make(part) for part in rest)) as made:
            if options.on_error == "raise" and unfinished.rejects:
                raise unfinished.rejects[0]
            for chunk in made:
                take(unfinished, chunk, options.on_error)
                progress.advance(chunk.num_items)
        # Materials that a source without pieces rejects itself are in no chunk.
        progress.advance(len(source.rejects))


def describe_store(folder: Path) -> str:
    """What a store holds, in a few lines: source, materials per split, sizes, units and precision."""
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
    return f"whole tensors of {known.all(axis=1).sum()} materials, the diagonal of {known.any(axis=1).sum()} at least"


def _stated_split(source: RecordSource, options: BuildOptions) -> IdLists | None:
    """The split that the source or the user states; None: it is drawn."""
    fixed = source.split()
    if fixed is None:
        return options.id_lists
    if options.id_lists is None and options.split_seed is None:
        return fixed
    raise InputError("the source fixes the split; drop the id lists and the seed of the split")


def _split_rule(lists: IdLists | None, options: BuildOptions, num_rejects: int) -> SplitRule:
    if lists is None:
        if options.split == "published":
            return published_split
        return partial(composition_split, seed=options.split_seed or 0)
    return lambda ids, _: _fitted(lists, ids, num_rejects)


def _kept(rule: SplitRule, folder: Path, ids: Sequence[str], formulas: Sequence[str]) -> IdLists:
    """What `rule` gives; a mistake in the split does not cost what was read."""
    try:
        return rule(ids, formulas)
    except InputError as error:
        raise InputError(
            f"{error}; {folder} keeps the {len(ids)} materials for the same command with another split, and has to be "
            "discarded, with --restart, for another source or other options"
        ) from error


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
