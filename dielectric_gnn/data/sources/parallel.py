"""Ordered parallel map over processes, in bounded memory.

joblib's generator (1.6, `return_as="generator"`) is not used. It takes all arguments from the iterable whether or not
results are consumed, so a build could hold a complete archive in memory; it drops finished results when the iterable
raises; and its workers outlive a killed parent.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import Outcome, T, read_or_reject
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import MATERIAL_MB, MB

R = TypeVar("R")

_ITEMS_PER_CHUNK = 8
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def ordered_map(function: Callable[[T], R], arguments: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Apply a function to every argument in several processes; results are in the order of the arguments.

    The processes are spawned, so a script that uses this needs `if __name__ == "__main__":`. They end with this
    process, also if it is killed.

    Args:
        function: Can be pickled.
        arguments: Can be pickled; at most `2 * workers + 1` are taken before their results are consumed.
        workers: Number of processes, one thread each.

    Raises:
        InputError: Raised by `arguments`, after the results of all earlier ones; or a worker process died.
    """
    pending: deque[Future[R]] = deque()
    context = get_context("spawn")
    with (
        _single_threaded_workers(),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_initialize_worker) as pool,
    ):
        try:
            for argument in arguments:
                pending.append(pool.submit(function, argument))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            yield from _remaining_results(pending)
        except InputError:
            # Results before the failure are yielded first, as with one process.
            yield from _remaining_results(pending)
            raise
        except BrokenProcessPool as error:
            raise InputError("a worker process died, possibly out of memory; use fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def read_parallel(
    items: Iterable[T], read: Callable[[T], CrystalRecord], workers: int
) -> Generator[Outcome, None, None]:
    """Read every item in several processes; order and outcomes are those of one process; see `ordered_map`."""
    for chunk in ordered_map(partial(_read_chunk, read), chunks(items, _ITEMS_PER_CHUNK), workers):
        yield from chunk


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, or fewer if they are large members of archives.

    If `items` raises InputError, the items before it are yielded first.
    """
    chunk: list[T] = []
    num_bytes = 0
    try:
        for item in items:
            chunk.append(item)
            content = getattr(item, "content", b"")
            num_bytes += len(content) if isinstance(content, bytes) else 0
            if len(chunk) == size or num_bytes > MATERIAL_MB * MB:
                yield chunk
                chunk, num_bytes = [], 0
    except InputError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _read_chunk(read: Callable[[Any], CrystalRecord], chunk: list[Any]) -> list[Outcome]:
    return [read_or_reject(read, item) for item in chunk]


def _remaining_results(pending: deque[Future[R]]) -> Iterator[R]:
    while pending:
        yield pending.popleft().result()


def _initialize_worker() -> None:
    """Worker initializer: ignores Ctrl-C, which the parent handles, and ends the worker when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _single_threaded_workers() -> Iterator[None]:
    """Processes started within use one thread each; numerical libraries read these variables when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
