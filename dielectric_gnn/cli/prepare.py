"""Prepare data sets for training: build a store, describe one, verify one, download the published data.

A store is a folder of flat arrays that a training maps into memory, without parsing anything when it starts, so a data
set may be larger than the memory. A typical session, for the published data prepared for learning:

    dielectric-gnn prepare download prepared data/prepared
    dielectric-gnn prepare build data/prepared data/store
    dielectric-gnn fit --config configs/base.yaml --config configs/backbone/optimetal2b_cgc.yaml --data.store data/store

and for your own files in the published JSON format, in a folder or an archive:

    dielectric-gnn prepare build entries.zip data/mine --on-error skip --workers 8
    dielectric-gnn prepare info data/mine
    dielectric-gnn prepare verify data/mine

and for a source class, of this package or your own:

    dielectric-gnn prepare build data/mine --source dielectric_gnn.data.sources.EntryJson --source.path entries.zip

and for a rehearsal with synthetic crystals and spectra:

    dielectric-gnn prepare build synthetic:20000 data/synthetic --workers 2 --spectra float16
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from dielectric_gnn.cli.function_parser import FunctionParser, call_function, command_parser
from dielectric_gnn.data.download.figshare import API_URL, ARTICLES, download_article
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.label_options import InsulatorRule
from dielectric_gnn.data.sources import RecordSource, SyntheticMetals
from dielectric_gnn.data.sources.base import OnError
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.metadata import SpectraDtype
from dielectric_gnn.data.store.prepare import (
    BuildOptions,
    SourceFormat,
    build_store,
    choose_source,
    describe_store,
    read_id_lists,
)
from dielectric_gnn.data.store.upgrade import upgrade_store
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.errors import InputError, naming_skip
from dielectric_gnn.utils.limits import MATERIAL_MB
from dielectric_gnn.utils.locks import locked

_PATH_OPTIONS = ("format", "broadening", "max_mb", "seed", "rattle")
"""Options of `build` that apply to a source given as a path; a class has arguments of its own."""


def build(
    source: str | RecordSource,
    out: Path,
    *,
    format: SourceFormat = "auto",
    broadening: float | None = None,
    cutoff: float = DEFAULT_CUTOFF,
    spectra: SpectraDtype = "float32",
    tensors: bool = False,
    symmetry: Symmetry = "full",
    on_error: OnError = "raise",
    workers: int = 1,
    max_mb: float = MATERIAL_MB,
    overwrite: bool = False,
    restart: bool = False,
    seed: int | None = None,
    rattle: float | None = None,
    split_seed: int | None = None,
    ids: tuple[Path, Path, Path] | None = None,
    grid: EnergyGrid | None = None,
    insulators: InsulatorRule | None = None,
) -> None:
    """Read SOURCE once and write a store to OUT.

    SOURCE is a folder or a zip or tar archive of JSON entries (one pymatgen ComputedStructureEntry per material, plain,
    .gz, .bz2 or .xz), a folder with train.h5, val.h5 and test.h5, or synthetic:NUMBER for synthetic crystals and
    spectra. Any other data set is read by a source class, given by its class path in place of SOURCE:
      build OUT --source CLASS --source.ARGUMENT VALUE ...     such as dielectric_gnn.data.sources.EntryJson
      build --source.help CLASS                                the arguments of a class
    A class of your own is a subclass of dielectric_gnn.data.sources.RecordSource that Python can import.

    The HDF5 files contain the published split, which is kept. For JSON entries, either give lists of ids, or a split is
    drawn as in the published study: 80/10/10, with all materials of one reduced formula on the same side.

    An interrupted build, even a killed one, is continued by repeating the same command; the materials read so far are
    in the folder .OUT.partial. The store appears, or replaces an old one, when it is complete.

    Args:
        source: Path of the data set, or synthetic:NUMBER. With --source CLASS it is left out.
        out: Folder of the new store.
        format: Format of SOURCE; auto recognises it by the content of the folder.
        broadening: Broadening Γ of the spectra in eV. Without it, JSON files state their own, and 0.1 eV is taken for
            other data.
        cutoff: Neighbour cutoff of the graphs in Å.
        spectra: Precision of the spectra; float16 has half the size and three digits.
        tensors: Keep tensors beside their averages over directions; five times the size.
        symmetry: orbit also finds the classes of symmetry-equivalent atoms, edges and angles, which invariant networks
            (data.symmetry) evaluate once each; many times faster for symmetric crystals.
        on_error: What happens at an unusable material; skip lists them in OUT_rejects.csv.
        workers: Number of processes, of one thread each; the store does not depend on it.
        max_mb: Largest size in MB of one material after decompression; a larger one is unusable.
        overwrite: Replace OUT if it is a store.
        restart: Discard what an interrupted build left, and start from the beginning.
        seed: Random seed of synthetic crystals; 0 if left out.
        rattle: Standard deviation of random displacements of the atoms of synthetic crystals in Å; 0 if left out.
        split_seed: Draw another split, with this seed, instead of the one that the published study draws.
        ids: Three files TRAIN.txt VAL.txt TEST.txt that define the split, with one material id per line.
        grid: Photon energies in eV onto which all spectra are resampled, given as --grid.start, --grid.stop and
            --grid.num; a material whose spectra do not cover them is unusable. Without it, those of the source.
        insulators: drude_zero sets the Drude frequency of materials whose file states a band gap above 0 to 0.
    """
    if ids is not None and split_seed is not None:
        raise InputError("--split-seed and --ids both define the split; give one of them")
    if isinstance(source, str):
        name = source
        source = choose_source(source, format, broadening, seed, rattle, max_mb)
    else:
        name = _settings_of(source)
    options = BuildOptions(
        cutoff=cutoff,
        spectra=spectra,
        on_error=on_error,
        split="published" if split_seed is None else "seeded",
        split_seed=split_seed,
        id_lists=None if ids is None else read_id_lists(ids),
        overwrite=overwrite,
        tensors=tensors,
        workers=workers,
        restart=restart,
        symmetry=symmetry,
        grid=grid,
        insulators=insulators,
    )
    with naming_skip(on_error, "--on-error"):
        rejects = build_store(source, out, options, _title(source, name))
    print(describe_store(out))
    print(f"rejected: {len(rejects)}")
    cutoffs = "" if cutoff == DEFAULT_CUTOFF else f" --data.cutoff {cutoff} --model.backbone.cutoff {cutoff}"
    fit = f"dielectric-gnn fit --config configs/base.yaml --data.store {out}{cutoffs}"
    print(f"The store is in {out}; train with: {fit}")


def info(store: Path) -> None:
    """Describe a store: its source, materials, split, sizes and precision.

    Args:
        store: Folder written by `build`.
    """
    print(describe_store(store))


def verify(store: Path) -> None:
    """Check every byte of STORE against its checksums, and that every value is plausible.

    A training also compares every material that it uses with its checksum; this command names the damaged file, and
    checks the values.

    Args:
        store: Folder written by `build`.
    """
    print("\n".join(verify_store(store)))


def upgrade(store: Path) -> None:
    """Verify STORE, and add a checksum for every material to a store of an earlier version that has none.

    With them, a training compares each material with its checksum when it first uses it, and stops at a damaged one.

    Args:
        store: Folder written by `build`.
    """
    print("\n".join(upgrade_store(store)))


def download(what: Literal["complete", "prepared"], folder: Path, *, api_url: str = API_URL) -> None:
    """Download the published data from figshare.

    `complete` has all JSON entries (two records); `prepared` has HDF5 files for learning and the published lists of
    ids. An interrupted download is continued by repeating the command. Every file is compared with the md5 checksum
    that the record states, and nothing is unpacked.

    Args:
        what: Part of the published data.
        folder: Folder of the files, created if it does not exist.
        api_url: Address of the figshare API.
    """
    with locked(folder, "a download"):
        for article in ARTICLES[what]:
            for path in download_article(article, folder, api_url):
                print(f"{path}: complete")


_COMMANDS: dict[str, Callable[..., None]] = {
    "build": build,
    "info": info,
    "verify": verify,
    "upgrade": upgrade,
    "download": download,
}


def main(words: Sequence[str] | None = None) -> None:
    """Run a sub-command; a user's mistake is one line and exit status 2, Ctrl-C one line and 130.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """
    command(lambda: _run(list(sys.argv[1:] if words is None else words)))


def _run(words: Sequence[str]) -> None:
    by_class = any(word.partition("=")[0] == "--source" or word.startswith("--source.") for word in words)
    if by_class:
        _check_no_path_options(words)
    parsers = {name: FunctionParser() for name in _COMMANDS}
    _add_source(parsers["build"], by_class)
    skipped = {"source", *(_PATH_OPTIONS if by_class else ())}
    for name, function in _COMMANDS.items():
        parsers[name].add_function(function, skipped if function is build else ())
    parser = command_parser("dielectric-gnn prepare", __doc__, parsers)
    parsed: Namespace = parser.instantiate_classes(parser.parse_args(list(words)))
    call_function(_COMMANDS[parsed.subcommand], parsed[parsed.subcommand])


def _add_source(parser: FunctionParser, by_class: bool) -> None:
    """The argument `source` of `build`: a class path with its arguments, or a path."""
    if by_class:
        parser.add_subclass_arguments(RecordSource, "source", required=True, help="Class that reads the materials.")
    else:
        parser.add_argument("source", type=str, metavar="SOURCE", help="Path of the data set, or synthetic:NUMBER.")


def _check_no_path_options(words: Sequence[str]) -> None:
    """Raise InputError for an option that a source given as a class does not use."""
    given = {word.partition("=")[0] for word in words}
    for name in _PATH_OPTIONS:
        if (option := f"--{name.replace('_', '-')}") in given:
            raise InputError(
                f"{option} applies to a source that is given as a path; with --source, give arguments of the class as "
                "--source.ARGUMENT (--source.help CLASS lists them)"
            )


def _settings_of(source: RecordSource) -> str:
    """The public attributes of a source that are plain values, as `path='entries.zip', workers=1`."""
    settings = {key: value for key, value in vars(source).items() if isinstance(value, str | int | float)}
    return ", ".join(f"{key}={value!r}" for key, value in settings.items() if not key.startswith("_"))


def _title(source: RecordSource, name: str) -> str:
    """The source in words, for the metadata of the store."""
    title = f"{type(source).__name__} {name}"
    if isinstance(source, SyntheticMetals):
        title += f" (synthetic, not materials data; seed {source.seed}, rattle {source.rattle:g} Å)"
    return title
