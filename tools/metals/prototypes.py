"""Crystal structures whose lattice constants follow from the volumes of the elements.

The volume of a cell is the sum of the experimental atomic volumes of its elements (as tabulated in ASE). Nothing is
relaxed, and many of the phases are hypothetical.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk

# fmt: off
ELEMENTS = [
    "Li", "Be", "Na", "Mg", "Al", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni",
    "Cu", "Zn", "Ga", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Ru", "Rh", "Pd", "Ag", "Cd", "In",
    "Sn", "Cs", "Ba", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Tl", "Pb", "Bi",
]
# fmt: on

_VOLUMES = {"Mn": 12.2, "Ga": 19.6, "In": 26.2, "Sn": 27.0, "Bi": 35.4, "Ba": 63.4}
"""Atomic volumes (Å³) of elements whose structure ASE does not build."""


@cache
def volume(element: str) -> float:
    """Atomic volume of an element in Å³."""
    if element in _VOLUMES:
        return _VOLUMES[element]
    cell = bulk(element)
    return float(cell.get_volume() / len(cell))


def _cubic_scale(total: float, cells: float = 1.0) -> float:
    return float((cells * total) ** (1 / 3))


def fcc(a: str) -> Atoms:
    """Face-centred cubic (A1)."""
    return bulk(a, "fcc", a=_cubic_scale(volume(a), 4))


def bcc(a: str) -> Atoms:
    """Body-centred cubic (A2)."""
    return bulk(a, "bcc", a=_cubic_scale(volume(a), 2))


def hcp(a: str, ratio: float = 1.62) -> Atoms:
    """Hexagonal close-packed (A3), c/a = 1.62."""
    edge = (2 * volume(a) / (np.sqrt(3) / 2 * ratio)) ** (1 / 3)
    return bulk(a, "hcp", a=edge, c=ratio * edge)


def bct(a: str, ratio: float) -> Atoms:
    """Body-centred tetragonal with c/a = `ratio`."""
    edge = (2 * volume(a) / ratio) ** (1 / 3)
    return Atoms([a], cell=_body_centred(edge, ratio * edge), positions=[[0, 0, 0]], pbc=True)


def b2(a: str, b: str) -> Atoms:
    """Caesium chloride structure."""
    edge = _cubic_scale(volume(a) + volume(b))
    return Atoms([a, b], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[edge] * 3, pbc=True)


def l12(a: str, b: str) -> Atoms:
    """AB₃ of the Cu₃Au type."""
    edge = _cubic_scale(volume(a) + 3 * volume(b))
    faces = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms([a, b, b, b], scaled_positions=faces, cell=[edge] * 3, pbc=True)


def l10(a: str, b: str) -> Atoms:
    """AB of the CuAu type, c/a = 0.96 in units of the face-centred cell."""
    edge = _cubic_scale((volume(a) + volume(b)) / np.sqrt(2) / 0.96)
    cell = [edge, edge, edge * np.sqrt(2) * 0.96]
    return Atoms([a, b], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)


def l11(a: str, b: str) -> Atoms:
    """AB of the CuPt type: cubic stacking, layers of A and B in turn, threefold axis along z."""
    ratio = np.sqrt(2 / 3) * 0.98
    edge = _cubic_scale((volume(a) + volume(b)) / (np.sqrt(3) * ratio))
    step = np.array([edge / 2, edge / (2 * np.sqrt(3)), edge * ratio])
    return Atoms([a, b], cell=[*_hexagonal(edge, 1.0)[:2], 2 * step], positions=[[0, 0, 0], step], pbc=True)


def bh(a: str, b: str, ratio: float = 1.6) -> Atoms:
    """AB of close-packed hexagonal layers of A and B in turn, c/a = 1.6."""
    edge = ((volume(a) + volume(b)) / (np.sqrt(3) / 2 * ratio)) ** (1 / 3)
    sites = [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]
    return Atoms([a, b], cell=_hexagonal(edge, ratio * edge), scaled_positions=sites, pbc=True)


def c32(a: str, b: str, ratio: float = 1.05) -> Atoms:
    """AB₂ of the AlB₂ type, c/a = 1.05."""
    edge = ((volume(a) + 2 * volume(b)) / (np.sqrt(3) / 2 * ratio)) ** (1 / 3)
    sites = [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    return Atoms([a, b, b], cell=_hexagonal(edge, ratio * edge), scaled_positions=sites, pbc=True)


def c11b(a: str, b: str, ratio: float = 2.9) -> Atoms:
    """AB₂ of the MoSi₂ type, c/a = 2.9."""
    edge = (2 * (volume(a) + 2 * volume(b)) / ratio) ** (1 / 3)
    height = ratio * edge
    positions = [[0, 0, 0], [0, 0, height / 3], [0, 0, -height / 3]]
    return Atoms([a, b, b], cell=_body_centred(edge, height), positions=positions, pbc=True)


def _body_centred(a: float, c: float) -> list[list[float]]:
    return [[-a / 2, a / 2, c / 2], [a / 2, -a / 2, c / 2], [a / 2, a / 2, -c / 2]]


def _hexagonal(a: float, c: float) -> list[list[float]]:
    return [[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]]


ELEMENTAL: dict[str, Callable[[str], Atoms]] = {
    "fcc": fcc,
    "bcc": bcc,
    "hcp": hcp,
    "bct085": lambda a: bct(a, 0.85),
    "bct120": lambda a: bct(a, 1.20),
}
BINARY: dict[str, Callable[[str, str], Atoms]] = {
    "l10": l10, "bh": bh, "l11": l11, "c11b": c11b, "b2": b2, "c32": c32, "l12": l12,
}  # fmt: skip


def prototypes(seed: int = 0) -> list[str]:
    """Names of all structures in the order of computation, such as `b2-Al-Ni`; `build` makes their atoms.

    All elements in all elemental prototypes, and every pair of elements once, the binary prototypes in turn.
    """
    rng = random.Random(seed)
    elemental = [(kind, (element,)) for kind in ELEMENTAL for element in ELEMENTS]
    pairs = list(itertools.combinations(ELEMENTS, 2))
    rng.shuffle(pairs)
    kinds = itertools.cycle(BINARY)
    binary = [(kind, pair if rng.random() < 0.5 else pair[::-1]) for kind, pair in zip(kinds, pairs, strict=False)]
    chosen: list[tuple[str, tuple[str, ...]]] = [*elemental, *binary]
    rng.shuffle(chosen)
    return [f"{kind}-{'-'.join(elements)}" for kind, elements in chosen]


def build(name: str) -> Atoms:
    """The structure of a name such as `b2-Al-Ni`."""
    kind, *elements = name.split("-")
    return ELEMENTAL[kind](*elements) if kind in ELEMENTAL else BINARY[kind](*elements)
