"""Reading materials with several processes, in the order of one, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import Outcome, T, attempt
from dielectric_gnn.errors import InputError, RecordError

_CHUNK = 8
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# RecordError does not survive pickling, its two parts do.
Sent = CrystalRecord | tuple[str, str]


def read_parallel(
    items: Iterable[T], read: Callable[[T], CrystalRecord], workers: int
) -> Generator[Outcome, None, None]:
    """Read every item, several at a time; the order and the outcomes are those of one process.

    The processes are spawned, so a script that uses this needs `if __name__ == "__main__":`.

    Args:
        items: What to read; can be pickled, and is asked for only a few chunks ahead.
        read: Reads one item; can be pickled.
        workers: Number of processes, one thread each.

    Raises:
        InputError: `items` raised it, after all outcomes before it; or a process died.
    """
    pending: deque[Future[list[Sent]]] = deque()
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            for chunk in _chunks(items):
                pending.append(pool.submit(_read_chunk, read, chunk))
                if len(pending) > 2 * workers:
                    yield from _received(pending.popleft())
            yield from _drained(pending)
        except InputError:
            # What lies before the failure comes first, as with one process.
            yield from _drained(pending)
            raise
        except BrokenProcessPool as error:
            raise InputError("a reading process died, out of memory? Use fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of a few items; items before a failure of `items` are handed out before it is raised."""
    iterator = iter(items)
    while True:
        chunk: list[T] = []
        try:
            chunk.extend(islice(iterator, _CHUNK))
        except InputError:
            yield chunk
            raise
        if not chunk:
            return
        yield chunk


def _read_chunk(read: Callable[[T], CrystalRecord], chunk: list[T]) -> list[Sent]:
    outcomes = [attempt(read, item) for item in chunk]
    return [out if isinstance(out, CrystalRecord) else (out.source, out.problem) for out in outcomes]


def _received(future: Future[list[Sent]]) -> Iterator[Outcome]:
    for outcome in future.result():
        yield outcome if isinstance(outcome, CrystalRecord) else RecordError(*outcome)


def _drained(pending: deque[Future[list[Sent]]]) -> Iterator[Outcome]:
    while pending:
        yield from _received(pending.popleft())


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
