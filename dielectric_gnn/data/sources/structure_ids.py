"""Names of materials that are read from files: as much of the path as tells the files apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from dielectric_gnn.files import encodable


def material_ids(paths: Sequence[Path], stem: Callable[[Path], str]) -> list[str]:
    """A name for each file, which does not depend on their order.

    That is the name of the file without its ending (`stem`). Files that would share it are called by their whole name;
    those that still do, by their folder and name, by two folders and name, and so on: `a-relax-POSCAR`,
    `b-relax-POSCAR`.

    Args:
        paths: Different files.
        stem: The shortest name of a file.

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
