"""Standard output and error of a command: always open, never failing, and free of control sequences from data."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from dielectric_gnn.utils.text import printable

_DRAWING_PACKAGES = ("rich", "tqdm")
"""Packages that draw bars and tables with control sequences."""


class GuardedStream:
    """A text stream whose target may be a closed pipe, a full disk, a terminal, or of another encoding.

    Characters that cannot be encoded are escaped, and so are control characters, which come from data. Rich and tqdm
    write control sequences themselves; text that Rich shows must be `printable`. After the first failed write, all
    output goes to the null device, including that of other libraries and child processes: a training must not end
    because `head` has closed the pipe.

    Args:
        stream: The stream to write to.
        name: Its name, for messages.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write printable text, or redirect the stream if that fails."""
        writer = str(sys._getframe(1).f_globals.get("__name__", ""))
        with self._redirect_on_failure():
            self._stream.write(text if writer.split(".")[0] in _DRAWING_PACKAGES else printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write every line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or redirect the stream if that fails."""
        with self._redirect_on_failure():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # while the object is being copied
            raise AttributeError(name)
        return getattr(self._stream, name)

    @contextmanager
    def _redirect_on_failure(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:  # a stream that cannot be reconfigured: the text is lost, the command continues
            return
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._redirect_to_null(error)

    def _redirect_to_null(self, error: Exception) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(null, self._stream.fileno())
        self._stream = os.fdopen(null, "w", encoding="utf-8", errors="backslashreplace")
        # A closed pipe is not an error, and a failure of standard error cannot be reported.
        if self._name != "stderr" and getattr(error, "errno", None) not in (errno.EPIPE, None):
            reason = getattr(error, "strerror", None) or str(error)
            sys.stderr.write(f"{self._name} cannot be written ({reason}); the command continues without it\n")


def open_missing() -> None:
    """Connect closed standard streams to the null device: otherwise a file opened later gets their descriptors."""
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
    """Replace standard output and error by guarded streams."""
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
    """Guard standard output and error inside, and flush them at the end."""
    before = sys.stdout, sys.stderr
    guard()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if not isinstance(before[0], GuardedStream) and before[0] is not None:
            sys.stdout, sys.stderr = before
