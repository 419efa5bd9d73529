"""Main memory available to a training: of the machine, or of its container or job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Limit, use, and droppable pages of files (a line of memory.stat): of cgroup v2 and, by the name of its folder, v1."""


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of main memory that can be allocated without swapping and within the limits of control groups.

    Args:
        root: Where proc/ and sys/ are.
    """
    return min([_of_machine(root), *_of_groups(root)])


def _of_machine(root: Path) -> int:
    lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Memory left in the control group of this process and in every enclosing group with a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in _FILES:
            continue
        top = root / "sys/fs/cgroup" / controllers
        group = top / path.lstrip("/")  # a container may see this group as the top
        for folder in dict.fromkeys((group, *(outer for outer in group.parents if outer.is_relative_to(top)), top)):
            yield from _of_group(folder, *_FILES[controllers])


def _of_group(folder: Path, limit: str, used: str, droppable: str) -> Iterator[int]:
    try:
        most, now = ((folder / name).read_text(encoding="ascii").strip() for name in (limit, used))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return  # no such group, or one without limits
    if most != "max":
        yield max(int(most) - int(now) + int(stat.get(droppable, 0)), 0)
