"""Start and end of every command: Ctrl-C, one line for a user's mistake, exit statuses.

This module imports the standard library only, so that Ctrl-C works while PyTorch is still being imported. A script
calls `begin` before its other imports, and passes its main function to `command`.
"""

from __future__ import annotations

import errno
import gc
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

EXIT_MISTAKE = 2
"""Exit status after a mistake of the user, or an error of the operating system."""

EXIT_INTERRUPTED = 128 + signal.SIGINT
"""Exit status after Ctrl-C."""

_DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_DISK_FAILURES = {*_DISK_FULL, errno.EIO, errno.EROFS}
"""Disk errors, which libraries wrap in errors of their own."""

_CURES = {
    **dict.fromkeys(_DISK_FULL, "make room on the disk and repeat the command; a training resumes from its checkpoint"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
        "choose another folder or file",
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.EIO: "the disk or its connection has failed: choose another one",
}


def begin() -> None:
    """Prepare a process for a command: guard its streams, and make Ctrl-C exit immediately.

    Before `command` runs there is nothing to save. An ignored SIGINT, as under nohup, stays ignored.
    """
    streams.guard()
    if _can_set_signals() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_immediately)


@contextmanager
def importing() -> Iterator[None]:
    """Import the modules of a command without garbage collection, which takes a seventh of the time of all imports.

    Imported modules live as long as the process, so that later collections leave them out, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def command(call: Callable[[], None]) -> None:
    """Run a command, and end the process with the exit status that all commands share.

    A mistake of the user, a setting that Lightning rejects, or an error of the operating system gives one line on
    standard error and exit status 2; Ctrl-C gives one line and 130; any other exception is a bug and gives a traceback
    and 1.

    Args:
        call: The main function; it returns, or raises SystemExit.
    """
    if _can_set_signals() and signal.getsignal(signal.SIGINT) is _exit_immediately:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with streams.guarded():
        try:
            with exit_on_mistake():
                call()
        except KeyboardInterrupt as stopped:
            _exit_interrupted(str(stopped))
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt) and end.code == 1:  # Lightning's own exit after Ctrl-C
                _exit_interrupted("")
            raise
        except Exception:
            sys.excepthook(*sys.exc_info())  # here, while the streams are guarded
            sys.exit(1)


@contextmanager
def exit_on_mistake() -> Iterator[None]:
    """Exit with one line and status 2 if a user's mistake, or an error of the operating system, is raised inside."""
    try:
        yield
    except Exception as error:
        mistake = input_error_from(error)
        if mistake is None:
            raise
        sys.stderr.write(f"error: {printable(str(mistake))}\n")
        sys.exit(EXIT_MISTAKE)


def input_error_from(error: BaseException) -> InputError | None:
    """Return the mistake of the user, or the error of the operating system, behind an exception; None for a bug.

    jsonargparse wraps exceptions of optional options; PyTorch raises errors of its own while it handles a full disk.
    """
    causes = list(_chain(error, lambda one: one.__cause__))
    for one in causes:
        if isinstance(one, InputError):
            return one
    if any(kind.__name__ == "MisconfigurationException" for kind in type(error).__mro__):
        return InputError(on_one_line(str(error)))  # settings that Lightning found inconsistent
    for one in causes:
        if isinstance(one, OSError):
            return InputError(os_error_message(one))
    for one in _chain(error, lambda one: one.__cause__ or one.__context__):
        if isinstance(one, OSError) and one.errno in _DISK_FAILURES:
            return InputError(os_error_message(one))
    return None


def os_error_message(error: OSError) -> str:
    """Return an error of the operating system in one line: the file, the reason, and the cure."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    # Errors of a child process contain its traceback, whose last line is the message.
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


def _exit_interrupted(message: str) -> NoReturn:
    sys.stderr.write(f"\n{message or 'stopped'}\n")
    sys.exit(EXIT_INTERRUPTED)


def _exit_immediately(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"\nstopped\n")  # a buffered stream may be in the middle of a write
    os._exit(EXIT_INTERRUPTED)


def _can_set_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
