"""How every command begins and ends: Ctrl-C, one line for a mistake, exit statuses.

Imports nothing but the standard library, so that Ctrl-C is understood while PyTorch is still being imported. A script
calls `begin` before its other imports, and `command` with what it does.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from dielectric_gnn.utils import streams
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import on_one_line, printable

MISTAKE = 2
"""Exit status after a user's mistake, or where the system refuses to read or write."""

STOPPED = 128 + signal.SIGINT
"""Exit status after Ctrl-C."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FAILING = {*_FULL, errno.EIO, errno.EROFS}
"""Errors of a disk, which libraries report as errors of their own."""

_CURES = {
    **dict.fromkeys(_FULL, "make room on the disk and repeat the command; a training continues from its checkpoint"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
        "choose another folder or file",
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.EIO: "the disk or its connection fails: choose another one",
}


def begin() -> None:
    """Prepare a process for a command: guarded streams, and Ctrl-C that ends it at once.

    Until `command` takes over there is nothing to save. An ignored SIGINT, as under nohup, stays ignored.
    """
    streams.guard()
    if _may_set_signals() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


def command(call: Callable[[], None]) -> None:
    """Do what a command does, and end the process by the rules of all commands.

    A user's mistake, a setting that Lightning refuses, or an error of the system is one line on standard error and
    exit status 2; Ctrl-C is one line and 130; anything else is a fault of the program, with a traceback and 1.

    Args:
        call: Returns, or ends the process itself by SystemExit.
    """
    if _may_set_signals() and signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with streams.guarded():
        try:
            with mistakes_told():
                call()
        except KeyboardInterrupt as stopped:
            _stop(str(stopped))
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt) and end.code == 1:  # Lightning's own ending after Ctrl-C
                _stop("")
            raise
        except Exception:
            sys.excepthook(*sys.exc_info())  # here, where the streams are guarded
            sys.exit(1)


@contextmanager
def mistakes_told() -> Iterator[None]:
    """Ends the process with one line and status 2 where a user's mistake, or an error of the system, comes through."""
    try:
        yield
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        sys.stderr.write(f"error: {printable(str(mistake))}\n")
        sys.exit(MISTAKE)


def mistake_behind(error: BaseException) -> InputError | None:
    """The user's mistake, or the error of the system, that an error reports; None where it is a fault of the program.

    jsonargparse wraps what it finds in an option that may be null; PyTorch raises errors of its own while it handles
    that of a full disk.
    """
    causes = list(_chain(error, lambda one: one.__cause__))
    for one in causes:
        if isinstance(one, InputError):
            return one
    if any(kind.__name__ == "MisconfigurationException" for kind in type(error).__mro__):
        return InputError(on_one_line(str(error)))  # settings that Lightning found not to go together
    for one in causes:
        if isinstance(one, OSError):
            return InputError(message_of_system(one))
    for one in _chain(error, lambda one: one.__cause__ or one.__context__):
        if isinstance(one, OSError) and one.errno in _FAILING:
            return InputError(message_of_system(one))
    return None


def message_of_system(error: OSError) -> str:
    """An error of the system in one line: the file, what is wrong, what to do."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    # Errors of another process carry its traceback, which ends with their message.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    words = [" -> ".join(names), error.strerror or lines[-1]]
    message = on_one_line(": ".join(word for word in words if word))
    cure = _CURES.get(error.errno or 0)
    return f"{message}; {cure}" if cure else message


def _chain(
    error: BaseException | None, following: Callable[[BaseException], BaseException | None]
) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = following(error)


def _stop(message: str) -> NoReturn:
    sys.stderr.write(f"\n{message or 'stopped'}\n")
    sys.exit(STOPPED)


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"\nstopped\n")  # a buffered stream may be in the middle of a write
    os._exit(STOPPED)


def _may_set_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
