"""Prepare data sets for training: build a store, look at one, verify one, download the published data.

A store is a folder of flat arrays that a training maps into memory: no parsing at the start, and data sets larger than
the memory. A typical session, for the published data prepared for learning:

    dielectric-gnn prepare download prepared data/prepared
    dielectric-gnn prepare build data/prepared data/store
    dielectric-gnn fit --config configs/base.yaml --config configs/backbone/optimetal2b_cgc.yaml --data.store data/store

and for your own files in the published JSON format, in a folder or an archive:

    dielectric-gnn prepare build entries.zip data/mine --on-error skip --workers 8
    dielectric-gnn prepare info data/mine
    dielectric-gnn prepare verify data/mine

and for a rehearsal with crystals and spectra that are invented:

    dielectric-gnn prepare build synthetic:20000 data/synthetic --workers 2 --spectra float16
"""

from __future__ import annotations

import argparse

from dielectric_gnn.data.download.figshare import API_URL, ARTICLES, download_article
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.prepare import (
    SYNTHETIC,
    BuildOptions,
    build_store,
    choose_source,
    describe_store,
    read_id_lists,
)
from dielectric_gnn.data.store.upgrade import upgrade_store
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.files import user_path
from dielectric_gnn.utils.limits import MATERIAL_MB
from dielectric_gnn.utils.locks import locked

_BUILD = """\
Read SOURCE once and write a store to OUT.

SOURCE is a folder or a zip or tar archive of JSON entries (one pymatgen ComputedStructureEntry per material, plain,
.gz or .bz2), or a folder with train.h5, val.h5 and test.h5; or synthetic:NUMBER, invented crystals and spectra.

The HDF5 files are the published split, which is kept. For JSON entries, either give lists of ids, or a split is drawn
as in the published study: 80/10/10, with all materials of one reduced formula on the same side.

A build that was interrupted, even killed, goes on where it was when the same command is repeated; what it has so far
is in the folder .OUT.partial. The store appears, or replaces an old one, when it is complete."""

_SYMMETRY = """\
orbit: find equal atoms, edges and angles too, which invariant networks (data.symmetry) then treat as one, many times
faster for symmetric crystals (default: full)"""

_VERIFY = """\
Check every byte of STORE against its checksums, and that every value makes sense. A training compares every material
that it uses with its checksum, too, but this names the damaged file, and looks at the values."""

_UPGRADE = """\
Verify STORE and add a checksum for every material if it was written before there were any. With them, a training
compares each material when it first uses it, and stops at a damaged one."""

_DOWNLOAD = """\
Download the published data from figshare: `complete` (all JSON entries, two records) or `prepared` (HDF5 files for
learning, and the published lists of ids). Repeat the command after an interruption: it goes on where it stopped. Every
file is checked against the md5 that the record states, and nothing is unpacked."""


def main(words: list[str] | None = None) -> None:
    """Run the sub-command; a user's mistake is one line and exit status 2, Ctrl-C one line and 130.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """

    def run() -> None:
        args = _parser().parse_args(words)
        args.run(args)

    command(run)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="dielectric-gnn prepare", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="write a store", description=_BUILD, formatter_class=raw)
    _add_build_options(build)
    build.set_defaults(run=_build)
    info = commands.add_parser("info", help="say what a store holds", description="Say what a store holds.")
    info.add_argument("store", type=user_path, metavar="STORE", help="folder written by `build`")
    info.set_defaults(run=lambda args: print(describe_store(args.store)))
    verify = commands.add_parser("verify", help="check a store", description=_VERIFY, formatter_class=raw)
    verify.add_argument("store", type=user_path, metavar="STORE", help="folder written by `build`")
    verify.set_defaults(run=lambda args: print("\n".join(verify_store(args.store))))
    upgrade = commands.add_parser("upgrade", help="add checksums", description=_UPGRADE, formatter_class=raw)
    upgrade.add_argument("store", type=user_path, metavar="STORE", help="folder written by `build`")
    upgrade.set_defaults(run=lambda args: print("\n".join(upgrade_store(args.store))))
    download = commands.add_parser("download", help="get the data", description=_DOWNLOAD, formatter_class=raw)
    download.add_argument("what", choices=sorted(ARTICLES), help="which part of the published data")
    download.add_argument("folder", type=user_path, metavar="FOLDER", help="where the files go; made if absent")
    download.add_argument("--api-url", default=API_URL, metavar="URL", help="figshare API (default: %(default)s)")
    download.set_defaults(run=_download)
    return parser


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="SOURCE", help="where the materials are, or synthetic:NUMBER")
    add("out", type=user_path, metavar="OUT", help="the store, a new folder")
    add("--format", choices=["auto", "json", "hdf5"], default="auto", help="of SOURCE (default: look)")
    add("--broadening", type=float, metavar="EV", help="of the spectra (default: stated in the JSON files; else 0.1)")
    add("--cutoff", type=float, default=DEFAULT_CUTOFF, metavar="A", help="of the graphs in Å (default: %(default)s)")
    add("--spectra", choices=["float32", "float16"], default="float32", help="float16: half the size, three digits")
    add("--tensors", action="store_true", help="keep whole tensors; five times the size")
    add("--symmetry", choices=["full", "orbit"], default="full", help=_SYMMETRY)
    add("--on-error", choices=["raise", "skip"], default="raise", help="skip: list unusable ones in OUT_rejects.csv")
    add(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes, of one thread each; the store does not depend on it",
    )
    add(
        "--max-mb",
        type=float,
        default=MATERIAL_MB,
        metavar="MB",
        help="largest material after decompression; a larger one is unusable (default: %(default)g)",
    )
    add("--overwrite", action="store_true", help="replace OUT if it is a store")
    add("--restart", action="store_true", help="discard what an interrupted build left, and begin anew")
    add("--seed", type=int, metavar="N", help="of synthetic crystals (default: 0)")
    add("--rattle", type=float, metavar="A", help="random shifts of the atoms of synthetic crystals in Å (default: 0)")
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        "--split-seed",
        type=int,
        metavar="N",
        help="draw another split, with this seed (default: the split that the published study draws from raw data)",
    )
    lists = ("TRAIN.txt", "VAL.txt", "TEST.txt")
    split.add_argument("--ids", nargs=3, type=user_path, metavar=lists, help="lists with one material id per line")


def _build(args: argparse.Namespace) -> None:
    source = choose_source(args.source, args.format, args.broadening, args.seed, args.rattle, args.max_mb)
    options = BuildOptions(
        cutoff=args.cutoff,
        spectra=args.spectra,
        on_error=args.on_error,
        split="published" if args.split_seed is None else "seeded",
        split_seed=args.split_seed,
        id_lists=None if args.ids is None else read_id_lists(args.ids),
        overwrite=args.overwrite,
        tensors=args.tensors,
        workers=args.workers,
        restart=args.restart,
        symmetry=args.symmetry,
    )
    title = f"{type(source).__name__} {args.source}"
    if args.source.startswith(SYNTHETIC):
        title += f" (synthetic, not materials data; seed {args.seed or 0}, rattle {args.rattle or 0:g} Å)"
    rejects = build_store(source, args.out, options, title)
    print(describe_store(args.out))
    print(f"rejected: {len(rejects)}")
    cutoff = (
        "" if args.cutoff == DEFAULT_CUTOFF else f" --data.cutoff {args.cutoff} --model.backbone.cutoff {args.cutoff}"
    )
    fit = f"dielectric-gnn fit --config configs/base.yaml --data.store {args.out}{cutoff}"
    print(f"The store is in {args.out}; train with: {fit}")


def _download(args: argparse.Namespace) -> None:
    with locked(args.folder, "a download"):
        for article in ARTICLES[args.what]:
            for path in download_article(article, args.folder, args.api_url):
                print(f"{path}: complete")
