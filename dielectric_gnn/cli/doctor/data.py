"""Checks of a store: integrity, and whether its pages fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dielectric_gnn.cli.doctor.environment import gigabytes
from dielectric_gnn.cli.doctor.finding import Finding
from dielectric_gnn.cli.doctor.memory import available_memory
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.utils.errors import InputError


def check_store(folder: Path, whole: bool) -> Iterator[Finding]:
    """A store on disk.

    Args:
        folder: Where it is.
        whole: Read and check every byte, instead of types and sizes only.
    """
    try:
        remarks = verify_store(folder) if whole else []
        store, split = open_store(folder)
    except InputError as error:
        yield Finding("error", "store", str(error), "see the message")
        return
    sides = ", ".join(f"{rows.size} {name}" for name, rows in split.items())
    checked = "every byte checked" if whole else "sizes checked; --verify-store reads every byte"
    yield Finding("ok", "store", f"{folder}: {len(store)} materials ({sides}); {checked}")
    for remark in remarks[1:]:
        yield Finding("warning", "store", remark, "build the store again if this is not intended")
    size, memory = sum(path.stat().st_size for path in folder.glob("*.npy")), available_memory()
    found = f"{gigabytes(size)} of shared pages, {gigabytes(memory)} of memory available"
    if size > memory:
        cure = "build it with --spectra float16, or expect to wait for the disk"
        yield Finding("warning", "store in memory", found, cure)
    else:
        yield Finding("ok", "store in memory", found)
