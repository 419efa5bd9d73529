"""Reading raw files of the published layout: time per file and peak memory of a process that keeps all records.

Copies of one file get names of their own and are read by `EntryJson`, and by
the plain way: the standard JSON parser, and everything but the labels kept with the record. Each form runs in processes
of its own, in turns.

    dielectric-gnn benchmark entries --file some/agm001003411.json.bz2
    dielectric-gnn benchmark entries --file tests/data/agm-like.json.bz2 --number 200
"""

from __future__ import annotations

import argparse
import bz2
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dielectric_gnn.cli.benchmark.options import positive
from dielectric_gnn.data.sources import EntryJson
from dielectric_gnn.utils.errors import InputError


def write_copies(sample: Path, number: int, folder: Path) -> None:
    """Files that differ in `mat_id` alone."""
    text = bz2.decompress(sample.read_bytes()) if sample.suffix == ".bz2" else sample.read_bytes()
    name = json.loads(text)["data"]["mat_id"].encode()
    for place in range(number):
        own = text.replace(b'"mat_id": "%b"' % name, b'"mat_id": "copy-%06d"' % place)
        (folder / f"copy-{place:06}.json.bz2").write_bytes(bz2.compress(own, compresslevel=1))


def plainly(folder: Path) -> Iterator[Any]:
    """What is kept of each file without any care: structure and labels as arrays, the rest as it was parsed."""
    for path in sorted(folder.iterdir()):
        with bz2.open(path) as file:
            entry = json.load(file)
        data = entry["data"]
        labels = [np.array(data.pop(key)["data"]) for key in ("eps_inter_re", "eps_inter_im")]
        yield labels, entry["structure"], data


def read(form: str, folder: Path) -> None:
    """Keep every record; print seconds and peak memory in MB, beyond what imports took."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    kept = list(plainly(folder) if form == "plain" else EntryJson(str(folder)).records())
    seconds = time.perf_counter() - start
    gc.collect()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"files": len(kept), "seconds": seconds, "megabytes": peak}))


def run(options: argparse.Namespace) -> None:
    """Measure, and print a table."""
    if options.form is not None:
        read(options.form, options.folder)
        return
    if options.file is None:
        raise InputError("--file is missing: give an entry of the published layout, of which copies are read")
    with tempfile.TemporaryDirectory() as scratch:
        write_copies(options.file, options.number, Path(scratch))
        results: dict[str, list[dict[str, float]]] = {"plain": [], "EntryJson": []}
        for _ in range(options.repeats):
            for form, found in results.items():
                command = [sys.executable, "-m", "dielectric_gnn", "benchmark", "entries", "--form", form]
                done = subprocess.run([*command, "--folder", scratch], check=True, capture_output=True, text=True)
                found.append(json.loads(done.stdout))
    print("| reader | files | ms per file | peak memory beyond imports (MB) |\n| --- | --- | --- | --- |")
    for form, found in results.items():
        milliseconds = 1000 * min(one["seconds"] for one in found) / options.number
        print(f"| {form} | {found[0]['files']} | {milliseconds:.1f} | {max(one['megabytes'] for one in found):.0f} |")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `entries`."""
    add = parser.add_argument
    add("--number", type=positive, default=2000, metavar="N", help="files (default: %(default)s)")
    add("--file", type=Path, metavar="FILE", help="an entry of the published layout, of which copies are read")
    add("--repeats", type=positive, default=2, metavar="N", help="processes of each form (default: %(default)s)")
    add("--form", choices=["plain", "EntryJson"], help=argparse.SUPPRESS)
    add("--folder", type=Path, help=argparse.SUPPRESS)
