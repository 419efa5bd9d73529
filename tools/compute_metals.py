"""Compute dielectric functions and Drude tensors of metals with GPAW, as entry files that `EntryJson` reads.

PBE, plane waves, independent-particle approximation without local fields, broadened to 0.3 eV; details in
`dielectric_gnn/data/example/README.md`. One material takes about a minute of one core. Needs GPAW with its data sets
and ASE, but not this package; on Debian or Ubuntu:

    apt-get install gpaw gpaw-data
    /usr/bin/python3 tools/compute_metals.py my_metals                           # prototypes of all elements and pairs
    /usr/bin/python3 tools/compute_metals.py my_metals --structures my_cifs/     # your own structure files

Start it several times on the same folder to use several cores, with OMP_NUM_THREADS=1. A material that exists, or that
another process works on, is skipped; what fails is listed in `failures.csv`. Ctrl-C, or a file `STOP` in the folder
(which ends every process after its present material), loses at most one material; the same command continues.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import gcd
from pathlib import Path

from ase import Atoms
from ase.io import read
from metals import entry, prototypes
from metals.response import KPOINT_LENGTH, compute

_STALE_S = 3600
"""A lock whose calculation has written nothing for so long belongs to a process that has ended."""


def main() -> None:
    """Compute one structure after the other."""
    options = _options().parse_args()
    logs = options.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    excluded = {_reduced(line.strip()) for line in _lines(options.exclude)}
    deadline = time.monotonic() + options.hours * 3600
    counts = {"computed": 0, "failed": 0}
    for name, prototype, structure in _jobs(options):
        if time.monotonic() > deadline or (options.folder / "STOP").exists():
            break
        target = options.folder / f"gpaw-{name}.json.bz2"
        if any((folder / target.name).exists() for folder in (options.folder, *options.have)):
            continue
        with _claimed(logs, name) as free:
            if not free:
                continue
            start = time.monotonic()
            try:
                atoms = structure()
                if _reduced(atoms.get_chemical_formula()) in excluded:
                    continue
                response = compute(atoms, logs, name, options.mesh_length)
                entry.write(target, entry.entry(name, prototype, atoms, response))
            except Exception as error:  # one material that fails must not end the run
                counts["failed"] += 1
                _note_failure(options.folder / "failures.csv", name, error)
                print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                continue
            counts["computed"] += 1
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"{counts['computed']} materials computed, {counts['failed']} failed; they are in {options.folder}/")


def _jobs(options: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], Atoms]]]:
    """Name and prototype of every structure, and the function that makes its atoms."""
    if options.structures is None:
        for name in prototypes.prototypes(options.seed):
            yield name, name.split("-")[0], partial(prototypes.build, name)
        return
    for path in sorted(path for path in options.structures.iterdir() if path.is_file()):
        yield path.stem, "file", partial(read, path)


@contextlib.contextmanager
def _claimed(logs: Path, name: str) -> Iterator[bool]:
    """Whether this process may compute the material: it holds the lock, which others respect."""
    lock = logs / f"{name}.lock"
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        written = [path.stat().st_mtime for path in logs.glob(f"{name}.*")]
        if time.time() - max(written, default=0.0) < _STALE_S:
            yield False
            return
    try:
        yield True
    finally:
        lock.unlink(missing_ok=True)


def _note_failure(path: Path, name: str, error: Exception) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        if new:
            rows.writerow(["material", "error"])
        rows.writerow([name, f"{type(error).__name__}: {error}"])


def _reduced(formula: str) -> frozenset[tuple[str, int]]:
    """Elements of a formula with their reduced numbers."""
    counts: dict[str, int] = {}
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        counts[symbol] = counts.get(symbol, 0) + int(number or 1)
    divisor = gcd(*counts.values()) or 1
    return frozenset((symbol, number // divisor) for symbol, number in counts.items())


def _lines(path: Path | None) -> list[str]:
    return [] if path is None else [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, help="where entries and logs are written")
    add("--structures", type=Path, metavar="FOLDER", help="structure files that ASE reads, in place of the prototypes")
    add("--exclude", type=Path, metavar="FILE", help="formulas to leave out, one per line")
    add("--have", type=Path, nargs="*", default=[], metavar="FOLDER", help="folders of entries that exist already")
    add("--hours", type=float, default=1e6, help="begin no material after so many hours (default: no limit)")
    add(
        "--mesh-length",
        type=float,
        default=KPOINT_LENGTH,
        help="k points times lattice vector, Å (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of the order of the prototypes; another one for every machine")
    return parser


if __name__ == "__main__":
    main()
