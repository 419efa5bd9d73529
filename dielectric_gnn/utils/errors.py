"""Errors that a user caused and can mend: told in one line, without a traceback through the library."""

from __future__ import annotations

_LONGEST = 600
"""Characters of the description of a bad material."""


class InputError(ValueError):
    """A mistake in what the user gave: says what is wrong, where, what was expected, and the cure.

    The command prints the message alone and exits with status 2; in Python it is an ordinary exception.
    """


class RecordError(InputError):
    """A material that cannot be used; bulk readers skip it under `on_error: skip`.

    Args:
        source: File or archive member that holds the material, or its identifier.
        problem: What is wrong, what was expected, and the cure where there is one. The middle of a long one, which
            quotes what a file holds, is left out.
    """

    def __init__(self, source: str, problem: str) -> None:
        if len(problem) > _LONGEST:
            problem = f"{problem[: _LONGEST // 2]} … {problem[-_LONGEST // 2 :]}"
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, str]]:
        """Both parts, for pickling: an exception is made again from its arguments, of which the message is one only."""
        return type(self), (self.source, self.problem)


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type where the message is empty."""
    return str(error).strip().split("\n")[0] or type(error).__name__
