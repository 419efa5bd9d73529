"""Write the table of element properties of the package, from the element data of pymatgen.

    python tools/write_element_properties.py

A property that is not known for an element is interpolated, so that every element can be described: for elements of the
f block linearly in the atomic number; for others linearly in the row within their group, constant beyond the last known
row; and for a group in which the property is not known at all, linearly in the atomic number.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports that take seconds: Ctrl-C ends them, too, without a traceback
    from dielectric_gnn.utils.entry import begin

    begin()

import argparse
import csv
import io
import warnings
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from dielectric_gnn.data.elements import HEAVIEST, TABLE
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.files import write_text

SHELLS = {"s": 2, "p": 6, "d": 10, "f": 14}
NOBLE_GASES = (2, 10, 18, 36, 54, 86)

FROM_PYMATGEN = {
    "electronegativity": "X",
    "atomic_mass": "atomic_mass",
    "atomic_radius": "atomic_radius",
    "calculated_radius": "atomic_radius_calculated",
    "van_der_waals_radius": "van_der_waals_radius",
    "mendeleev_number": "mendeleev_no",
    "electron_affinity": "electron_affinity",
    "melting_point": "melting_point",
    "boiling_point": "boiling_point",
    "molar_volume": "molar_volume",
    "thermal_conductivity": "thermal_conductivity",
}
"""Names in the table, and attributes of `pymatgen.core.Element`."""


def properties(element: Element) -> dict[str, float]:
    """All properties of one element; NaN where pymatgen has none."""
    found = {"atomic_number": float(element.Z), "row": float(element.row), "group": float(element.group)}
    found |= {name: _number(element, attribute) for name, attribute in FROM_PYMATGEN.items()}
    energies = [*element.ionization_energies, None][:2]
    for name, energy in zip(("first_ionisation_energy", "second_ionisation_energy"), energies, strict=True):
        found[name] = float("nan") if energy is None else float(energy)
    shells = valence_shells(element)
    found["outer_electrons"] = float(outer_electrons(element))
    found |= {f"{shell}_electrons": float(shells[shell]) for shell in SHELLS}
    found["d_vacancies"] = float((SHELLS["d"] - shells["d"]) % SHELLS["d"] if shells["d"] else 0)
    return found


def valence_shells(element: Element) -> dict[str, int]:
    """Electrons outside the noble-gas core, by shell; those of filled d and f shells are counted, as in Magpie."""
    core = max((z for z in NOBLE_GASES if z < element.Z), default=0)
    inner = {(n, shell) for n, shell, _ in Element.from_Z(core).full_electronic_structure} if core else set()
    outer = [part for part in element.full_electronic_structure if part[:2] not in inner]
    return {shell: sum(count for _, kind, count in outer if kind == shell) for shell in SHELLS}


def outer_electrons(element: Element) -> int:
    """Electrons outside closed d and f shells: the group up to 10, less 10 beyond; 2 for He.

    (`optics.valence_electrons` counts closed d shells of groups 11 and 12, which absorb light but do not conduct.)
    """
    if element.Z == 2:
        return 2
    return int(element.group) if element.group <= 10 else int(element.group) - 10


def _number(element: Element, attribute: str) -> float:
    try:
        value = getattr(element, attribute)
    except AttributeError:  # the way in which pymatgen reports a missing property
        return float("nan")
    return float("nan") if value is None else float(value)


def filled(values: NDArray[np.float64], elements: list[Element]) -> NDArray[np.float64]:
    """One property of all elements (Z,), with interpolated values where it is NaN."""
    known = ~np.isnan(values)
    numbers, rows = (np.array([getattr(element, name) for element in elements], dtype=float) for name in ("Z", "row"))
    groups = np.array([0 if element.block == "f" else element.group for element in elements])
    out = values.copy()
    for place in np.flatnonzero(~known):
        same = known & (groups == groups[place]) & (groups > 0)
        axis, usable = (rows, same) if same.any() else (numbers, known)
        out[place] = np.interp(axis[place], axis[usable], values[usable])
    return out


def main() -> None:
    """Read, fill and write."""
    command(write)


def write() -> None:
    """Parse the command line, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    elements = [Element.from_Z(number) for number in range(1, HEAVIEST + 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of every missing property
        rows = [properties(element) for element in elements]
    table = np.stack([filled(np.array([row[name] for row in rows]), elements) for name in rows[0]], axis=1)
    text = io.StringIO()
    text.write(f"# Element data of pymatgen {version('pymatgen')}; written by tools/write_element_properties.py\n")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["symbol", *rows[0]])
    for element, values in zip(elements, table.tolist(), strict=True):
        lines.writerow([element.symbol, *(f"{value:.6g}" for value in values)])
    write_text(TABLE, text.getvalue())
    print(f"wrote {table.shape[1]} properties of {len(elements)} elements to {TABLE}")


if __name__ == "__main__":
    main()
