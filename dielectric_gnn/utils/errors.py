"""Errors that a user caused and can correct: one line, without a traceback through the library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_MAX_CHARACTERS = 600
"""Length of the description of an unusable material."""


class InputError(ValueError):
    """A mistake in the input: the message states where, what is wrong, what was expected, and the cure.

    The command prints the message alone and exits with status 2; in Python it is an ordinary exception.
    """


class RecordError(InputError):
    """A material that cannot be used; sources skip it with `on_error: skip`.

    Args:
        source: File or archive member that contains the material, or its id.
        problem: What is wrong, what was expected, and the cure if there is one. The middle of a long text, which
            quotes the file, is left out.
    """

    def __init__(self, source: str, problem: str) -> None:
        if len(problem) > _MAX_CHARACTERS:
            problem = f"{problem[: _MAX_CHARACTERS // 2]} … {problem[-_MAX_CHARACTERS // 2 :]}"
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, str]]:
        """Return both parts for pickling, since an exception is rebuilt from its arguments."""
        return type(self), (self.source, self.problem)


@contextmanager
def naming_skip(on_error: str, option: str) -> Iterator[None]:
    """Add to the error of an unusable material the option that leaves out such materials, unless it is set.

    Args:
        on_error: The present choice.
        option: How the user sets it, such as `--data.on_error`.
    """
    try:
        yield
    except RecordError as error:
        if on_error == "skip":
            raise
        cure = f"correct it, or leave out unusable materials by {option} skip"
        raise RecordError(error.source, f"{error.problem}; {cure}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type where the message is empty."""
    return str(error).strip().split("\n")[0] or type(error).__name__
