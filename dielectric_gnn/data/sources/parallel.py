"""Work spread over several processes, with results in the order of one, in bounded memory."""

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
from dielectric_gnn.data.sources.base import Outcome, T, attempt
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import MATERIAL_MB, MB

R = TypeVar("R")

_CHUNK = 8
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def ordered_map(function: Callable[[T], R], arguments: Iterable[T], workers: int) -> Generator[R, None, None]:
    """`function` of every argument, several at a time; results come in order.

    The processes are spawned, so a script that uses this needs `if __name__ == "__main__":`. They end when this one
    does, also if it is killed.

    Args:
        function: Can be pickled.
        arguments: Can be pickled, and are asked for only a few ahead.
        workers: Number of processes, one thread each.

    Raises:
        InputError: `arguments` raised it, after all results before it; or a process died.
    """
    pending: deque[Future[R]] = deque()
    context = get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=context, initializer=_serve) as pool:
        try:
            for argument in arguments:
                pending.append(pool.submit(function, argument))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            yield from _drained(pending)
        except InputError:
            # What lies before the failure comes first, as with one process.
            yield from _drained(pending)
            raise
        except BrokenProcessPool as error:
            raise InputError("a reading process died, out of memory? Use fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def read_parallel(
    items: Iterable[T], read: Callable[[T], CrystalRecord], workers: int
) -> Generator[Outcome, None, None]:
    """Read every item, several at a time; the order and the outcomes are those of one process; see `ordered_map`."""
    for chunk in ordered_map(partial(_read_chunk, read), chunks(items, _CHUNK), workers):
        yield from chunk


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; fewer where members of archives among them take much memory.

    Items before a failure of `items` are handed out before it is raised.
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
    return [attempt(read, item) for item in chunk]


def _drained(pending: deque[Future[R]]) -> Iterator[R]:
    while pending:
        yield pending.popleft().result()


def _serve() -> None:
    """Begin the life of a worker: leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside inherit one thread; numerical libraries read these variables when they load."""
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
