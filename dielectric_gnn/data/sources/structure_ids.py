"""Ids of materials read from files: the shortest unique end of each path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from dielectric_gnn.utils.files import encodable


def material_ids(paths: Sequence[Path], stem: Callable[[Path], str]) -> list[str]:
    """A unique id for each file, which does not depend on their order.

    It is the name of the file without its suffix (`stem`). Files that share it get their full name; those that still
    share it get their folder and name, two folders and name, and so on: `a-relax-POSCAR`, `b-relax-POSCAR`.

    Args:
        paths: Different files.
        stem: Returns the shortest name of a file.

    Example:
        >>> material_ids([Path("/x/Ag.cif"), Path("/x/Ag.vasp"), Path("/x/Cu.cif")], lambda path: path.stem)
        ['Ag.cif', 'Ag.vasp', 'Cu']
    """
    absolute = [path.absolute() for path in paths]
    levels = [0] * len(paths)
    while True:
        names = [encodable(_name(path, level, stem)) for path, level in zip(absolute, levels, strict=True)]
        shared = Counter(names)
        again = [
            place
            for place, name in enumerate(names)
            if shared[name] > 1 and levels[place] <= len(absolute[place].parts)
        ]
        if not again:
            return names
        for place in again:
            levels[place] += 1


def _name(path: Path, level: int, stem: Callable[[Path], str]) -> str:
    if level == 0:
        return stem(path)
    folders = path.parts[1:-1]
    return "-".join([*folders[max(len(folders) - level + 1, 0) :], path.name])
