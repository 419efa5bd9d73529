"""Result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        status: `ok`, `warning` (a training will run, but not as it should) or `error` (it will not run).
        subject: What was checked.
        found: What was found.
        cure: What to do; empty if the status is `ok`.
    """

    status: Status
    subject: str
    found: str
    cure: str = ""
