"""How fast crystals become batches, and what that costs in memory: the store against the usual way.

The usual way is a list of torch_geometric `Data` objects, one per crystal, and the `DataLoader` of that package. Both
serve the same shuffled crystals as collated tensors (spectra in the precision of the store, which the loss widens), in
one process without worker processes, in turns (A B A B), so both have the same allocator and the same neighbours on the
machine. Memory is that of fresh processes, one for each way.

    dielectric-gnn benchmark loading                                  # 20,000 synthetic crystals, built for this
    dielectric-gnn benchmark loading --number 200000 --no-list        # a list of so many would need 4 GB
    dielectric-gnn benchmark loading --store data/store --batch-size 64
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from json import dumps as to_json
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse.typing import PositiveInt

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.sampling import TrainingBatches, TrainingLoader
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.store.appendable import array_checksum
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.files import map_array, open_store
from dielectric_gnn.data.store.metadata import read_metadata
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.utils.files import write_text

_MEMORY = Path("/proc/self/smaps_rollup")
_MB = 1e6


def measure_preparation(number: int, folder: Path, workers: int, spectra: str) -> dict[str, float]:
    """Build a store of synthetic crystals: seconds, structures per second, bytes per structure."""
    options = BuildOptions(spectra="float16" if spectra == "float16" else "float32", workers=workers, overwrite=True)
    started = time.perf_counter()
    build_store(SyntheticMetals(number), folder, options, f"synthetic, {number} crystals for a benchmark")
    seconds = time.perf_counter() - started
    num_bytes = sum(file.stat().st_size for file in folder.iterdir())
    return {
        "prepare_seconds": seconds,
        "prepare_structures_per_second": number / seconds,
        "bytes_per_structure": num_bytes / number,
    }


def measure_opening(folder: Path, repeats: int = 5) -> dict[str, float]:
    """Median time to open a store (its files are in the page cache)."""
    return {"open_seconds": statistics.median(_seconds(lambda: open_store(folder)) for _ in range(repeats))}


def measure_memory(folder: Path, with_list: bool, batch_size: int = 256) -> dict[str, float]:
    """Memory in MB of a process that trains from the store, or holds a list, above what it had after its imports.

    `private` is what it adds to the memory of a machine on which another process reads the store already, as other
    ranks do; `dirty` the part of it that is no file and must stay in memory. `shared` are the pages of the store and of
    libraries that others map too; `resident` counts them in full, and `proportional` shares them out among the
    processes that map them, here two.
    """
    arrays = [map_array(path) for path in sorted(folder.glob("*.npy"))]
    for array in arrays:
        array_checksum(array)  # touches every page: this is the other process
    found = {}
    for name, read in (("store", _read_store), ("list", _read_list)):
        if name == "store" or with_list:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                for kind, amount in pool.submit(read, folder, batch_size).result().items():
                    found[f"{name}_{kind}_mb"] = amount
    return found


def measure_loaders(folder: Path, batch_size: int = 256, repeats: int = 9) -> dict[str, float]:
    """Median processor time per crystal (ms) of a shuffled epoch through both loaders in turns, and of their ratios."""
    store, _ = open_store(folder)
    rows = np.arange(len(store))
    ours = TrainingLoader(store, TrainingBatches(rows, batch_size, seed=0, position=lambda: (0, 0)))
    usual = usual_loader(as_list(store), batch_size)
    times: dict[str, list[float]] = {"store": [], "list": []}
    for turn in range(repeats + 1):
        for name, loader in (("store", ours), ("list", usual)):
            started = time.process_time()
            _exhaust(loader)
            seconds = time.process_time() - started
            if turn:  # the first is for warming up
                times[name].append(1e3 * seconds / len(store))
    store_ms, list_ms = (statistics.median(times[name]) for name in ("store", "list"))
    ratio = statistics.median(usual / ours for ours, usual in zip(times["store"], times["list"], strict=True))
    return {"store_ms_per_crystal": store_ms, "list_ms_per_crystal": list_ms, "list_over_store": ratio}


def as_list(store: CrystalStore) -> list[Any]:
    """Every crystal of a store as a `Data` object that owns its tensors."""
    data_type, _ = _torch_geometric()
    crystals = []
    for row in range(len(store)):
        graph = store.gather([row])
        data = data_type(z=graph.atomic_numbers, edge_index=graph.edge_index, edge_vec=graph.edge_vectors)
        data.eps_inter, data.drude, data.index_in_set = graph.eps_inter, graph.drude, graph.index
        data.num_nodes = graph.num_atoms
        crystals.append(data)
    return crystals


def usual_loader(crystals: list[Any], batch_size: int) -> Iterable[Any]:
    """The loader of torch_geometric."""
    loader: Iterable[Any] = _torch_geometric()[1](crystals, batch_size=batch_size, shuffle=True)
    return loader


def _torch_geometric() -> tuple[Any, Any]:
    """Its `Data` and `DataLoader`, imported late: only the usual way needs them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # parts of it are compiled with TorchScript
        from torch_geometric.data import Data
        from torch_geometric.loader import DataLoader
    return Data, DataLoader


def memory_mb() -> dict[str, float]:
    """Memory of this process in MB, as Linux counts it."""
    kilobytes = {}
    for line in _MEMORY.read_text(encoding="ascii").splitlines()[1:]:
        key, amount, *_ = line.split()
        kilobytes[key.rstrip(":")] = 1024 * int(amount) / _MB
    return {
        "dirty": kilobytes["Private_Dirty"],
        "private": kilobytes["Private_Dirty"] + kilobytes["Private_Clean"],
        "shared": kilobytes["Shared_Dirty"] + kilobytes["Shared_Clean"],
        "proportional": kilobytes["Pss"],
        "resident": kilobytes["Rss"],
    }


def _read_store(folder: Path, batch_size: int) -> dict[str, float]:
    """What a training does with a store: open, split, learn its statistics, one epoch."""
    before = memory_mb()
    data = CrystalDataModule(
        store=str(folder), batch_size=batch_size, cutoff=read_metadata(folder).cutoff, train_size=None
    )
    data.setup("fit")
    data.training_statistics()
    train = data.indices["train"]
    _exhaust(TrainingLoader(data.store, TrainingBatches(train, batch_size, seed=0, position=lambda: (0, 0))))
    return _grown(before)


def _read_list(folder: Path, batch_size: int) -> dict[str, float]:
    _torch_geometric()
    before = memory_mb()
    store, _ = open_store(folder)
    crystals = as_list(store)
    del store  # and with it the pages of the store
    _exhaust(usual_loader(crystals, batch_size))
    return _grown(before)


def _grown(before: dict[str, float]) -> dict[str, float]:
    return {kind: amount - before[kind] for kind, amount in memory_mb().items()}


def _exhaust(loader: Iterable[Any]) -> None:
    for _ in loader:
        pass


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(
    store: Path | None = None,
    number: PositiveInt = 20_000,
    workers: PositiveInt = 2,
    spectra: Literal["float32", "float16"] = "float16",
    batch_size: PositiveInt = 256,
    repeats: PositiveInt = 9,
    no_list: bool = False,
    json: Path | None = None,
) -> None:
    """Print one line per figure.

    Args:
        store: Folder of an existing store; otherwise one is built, and deleted at the end.
        number: How many synthetic crystals are built.
        workers: Processes that build.
        spectra: Precision of the spectra on disk.
        batch_size: Crystals per batch.
        repeats: Epochs of each loader that count.
        no_list: Leave out the usual way.
        json: File to which the figures are written, too.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, float] = {}
        folder = store or Path(scratch) / "store"
        if store is None:
            found |= measure_preparation(number, folder, workers, spectra)
        found |= measure_opening(folder)
        if _MEMORY.exists():
            found |= measure_memory(folder, not no_list, batch_size)
        if not no_list:
            found |= measure_loaders(folder, batch_size, repeats)
    print(f"allocator: {os.environ.get('LD_PRELOAD') or 'default'}")
    for name, figure in found.items():
        print(f"{name}: {figure:.4g}")
    if json is not None:
        write_text(json, to_json(found, indent=1) + "\n")
