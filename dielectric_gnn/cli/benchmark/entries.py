"""Reading raw files of the published layout: time per file and peak memory of a process that keeps all records.

Copies of one file get names of their own and are read by `EntryJson`, and by
the plain way: the standard JSON parser, and everything but the labels kept with the record. Each form runs in processes
of its own, in turns.

    dielectric-gnn benchmark entries --file some/agm001003411.json.bz2
    dielectric-gnn benchmark entries --file tests/data/agm-like.json.bz2 --number 200
"""

from __future__ import annotations

import bz2
import gc
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse.typing import PositiveInt

from dielectric_gnn.data.sources import EntryJson


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


def read(form: str, folder: Path) -> dict[str, float]:
    """Keep every record; seconds, and peak memory in MB beyond that of the imports."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    kept = list(plainly(folder) if form == "plain" else EntryJson(str(folder)).records())
    seconds = time.perf_counter() - start
    gc.collect()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"files": len(kept), "seconds": seconds, "megabytes": peak}


def run(*, file: Path, number: PositiveInt = 2000, repeats: PositiveInt = 2) -> None:
    """Measure, and print a table.

    Args:
        file: An entry of the published layout, of which copies are read.
        number: How many files.
        repeats: Processes of each form.
    """
    with tempfile.TemporaryDirectory() as scratch:
        write_copies(file, number, Path(scratch))
        results: dict[str, list[dict[str, float]]] = {"plain": [], "EntryJson": []}
        for _ in range(repeats):
            for form, found in results.items():
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # its peak memory is its own
                    found.append(pool.submit(read, form, Path(scratch)).result())
    print("| reader | files | ms per file | peak memory beyond imports (MB) |\n| --- | --- | --- | --- |")
    for form, found in results.items():
        milliseconds = 1000 * min(one["seconds"] for one in found) / number
        print(f"| {form} | {found[0]['files']} | {milliseconds:.1f} | {max(one['megabytes'] for one in found):.0f} |")
