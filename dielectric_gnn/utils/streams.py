"""Standard output and error of a command: always there, never failing, and free of control sequences from data."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from dielectric_gnn.utils.text import printable

_DRAWING = ("rich", "tqdm")
"""Packages that draw bars and tables."""


class GuardedStream:
    """A text stream whose other end may be closed, full, a terminal, or of another encoding.

    What cannot be encoded is spelled out, and so are control characters, which would come from data; Rich and tqdm
    write some of their own, and what Rich is given to show must be `printable`. After the first failed write, the rest
    goes to the null device, also what other libraries and child processes write: a training must not end because
    `head` has seen enough.

    Args:
        stream: Where text goes.
        name: In messages.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write what may be shown, or give the stream up."""
        writer = str(sys._getframe(1).f_globals.get("__name__", ""))
        with self._given_up_if_it_fails():
            self._stream.write(text if writer.split(".")[0] in _DRAWING else printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or give the stream up."""
        with self._given_up_if_it_fails():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # of an object that is being copied
            raise AttributeError(name)
        return getattr(self._stream, name)

    @contextmanager
    def _given_up_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:  # of a stream that cannot be set up otherwise; its text is lost, not the command
            return
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(null, self._stream.fileno())
        self._stream = os.fdopen(null, "w", encoding="utf-8", errors="backslashreplace")
        # A closed pipe is no mistake, and where standard error itself fails nobody is there to be told.
        if self._name != "stderr" and getattr(error, "errno", None) not in (errno.EPIPE, None):
            reason = getattr(error, "strerror", None) or str(error)
            sys.stderr.write(f"{self._name} cannot be written ({reason}); the command goes on without it\n")


def open_missing() -> None:
    """Connect closed standard streams with the null device: a file that is opened later would take their place."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
        os.set_inheritable(descriptor, True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def guard() -> None:
    """Guard standard output and error from here on."""
    open_missing()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, GuardedStream):
            continue
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, cast(TextIO, GuardedStream(stream, name)))


@contextmanager
def guarded() -> Iterator[None]:
    """Guard them inside, and write out what is buffered."""
    before = sys.stdout, sys.stderr
    guard()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if not isinstance(before[0], GuardedStream) and before[0] is not None:
            sys.stdout, sys.stderr = before
