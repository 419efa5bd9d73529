"""Space groups and symmetry operations of CIF files, against the tables of spglib and of the Open Database (COD)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymatgen.symmetry
import pytest
import spglib
from pymatgen.core.operations import SymmOp

from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.cif_symmetry import _codes, _operation
from dielectric_gnn.data.sources.space_groups import NUM_SETTINGS, find_group_number, find_settings, symmetry_operations
from tests.cif_files import GROUP, LISTED, block, outcome, refusal, symbols


def codes(rotations: np.ndarray, translations: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, _codes(np.asarray(rotations), np.asarray(translations) % 1.0).tolist()))


def table_of_cod() -> Iterator[dict[str, Any]]:
    """752 spellings with their operations, from the Crystallography Open Database."""
    table = json.loads((Path(pymatgen.symmetry.__file__).parent / "symm_ops.json").read_text())
    yield from (entry for entry in table if "(" not in entry["universal_h_m"])  # axes of their own


def test_every_name_of_the_cod_has_its_operations_there() -> None:
    """Names with a choice, of today and of before 1992, and names of Hall: the operations, or not understood."""
    understood = 0
    for entry in table_of_cod():
        pairs = [SymmOp.from_xyz_str(text) for text in entry["symops"]]
        expected = codes(
            np.array([np.rint(one.rotation_matrix).astype(int) for one in pairs]),
            np.array([one.translation_vector for one in pairs]),
        )
        for name, hall in ((entry["universal_h_m"], False), (entry["hall"], True)):
            found = [codes(*symmetry_operations(one)) for one in find_settings(name, hall=hall)]
            assert not found or expected in found, name
            understood += bool(found)
            # 68 (C c c e) has settings of different axes under one name.
            if ":" in name or hall:
                assert len({frozenset(one) for one in found}) <= 1 or entry["number"] == 68, name
    assert understood > 2 * 500


SPELLINGS = {
    458: ["R -3 m H", "R -3 m :H", "R-3m:H", "R -3 m (H)", "R-3mH", "R_-3_m_:H", "R -3 2/m :H", "r -3 m h"],
    459: ["R -3 m :R", "R -3 m R", "R-3m:r"],
    526: ["F d -3 m :2", "F d -3 m Z", "Fd-3mZ", "F d 3 m :2", "F d -3 m (origin 2)", "F d -3 m (origin choice 2)"],
    525: ["F d -3 m :1", "F d -3 m S", "Fd-3mS", "F 41/d -3 2/m :1"],
    488: ["P 63/m m c", "P 6(3)/m m c", "P6_3/mmc", "P63/mmc", "p 63/m m c", "P 6_3/m 2/m 2/c", "194"],
    523: ["F m -3 m", "Fm3m", "F m 3 m", "F 4/m -3 2/m", "F_m_-3_m", "225"],
    292: ["P n m a", "Pnma", "P 21/n 21/m 21/a", "P 2_1/n 2_1/m 2_1/a", "62"],
    294: ["P b n m", "Pbnm"],
    81: ["P 1 21/c 1", "P 1 2_1/c 1", "P12(1)/c1"],
    82: ["P 21/n", "P 1 21/n 1"],
    304: ["C m c e", "C m c a", "Cmca"],
}


def test_spellings_that_people_use() -> None:
    for hall_number, names in SPELLINGS.items():
        for name in (*names, f"'{names[0]}'"):
            found = [one.hall_number for one in find_settings(name)]
            assert hall_number in found and (len(found) == 1 or "P 21/n" in name), (name, found)
    for name in ("Q 7 m", "F -1", "C 4/m m m", "231", "0", "", "P 21/c (b,c,a)", "F d -3 m :3"):
        assert not find_settings(name), name


@pytest.mark.parametrize("name", ["C m c a", "Cmca", "A b m 2", "C c c a :2", "C m m a", "B b a b :1", "P n c b :2"])
def test_names_of_before_the_letter_e(name: str) -> None:
    entries = {entry["universal_h_m"].replace(" ", ""): entry for entry in table_of_cod()}
    (setting,) = find_settings(name)
    if (entry := entries.get(name.replace(" ", ""))) is not None:
        pairs = [_operation(text) for text in entry["symops"]]
        assert codes(np.array([one for one, _ in pairs]), np.array([one for _, one in pairs])) == codes(
            *symmetry_operations(setting)
        )
    assert setting.number in (39, 41, 50, 64, 67, 68)


def test_operations_are_read_as_pymatgen_reads_them() -> None:
    for entry in table_of_cod():
        for text in entry["symops"]:
            rotation, translation = _operation(text)
            other = SymmOp.from_xyz_str(text)
            np.testing.assert_array_equal(rotation, other.rotation_matrix)
            np.testing.assert_allclose((translation - other.translation_vector + 0.5) % 1, 0.5, atol=1e-9)
    np.testing.assert_allclose(_operation(" 1/2+X , .5-Y, Z + 0.3333")[1], [1 / 2, 1 / 2, 1 / 3])
    for wrong in ("x,y", "x,y,foo", "x,y,2", "x,x,z", "xy,y,z", "x,y,z/0", "?", "x,y,1/0+z"):
        with pytest.raises(ValueError, match="symmetry operation"):
            _operation(wrong)


def test_the_group_of_operations_is_found_in_every_setting() -> None:
    for hall_number in range(1, NUM_SETTINGS + 1):
        kind = spglib.get_spacegroup_type(hall_number)
        database = spglib.get_symmetry_from_database(hall_number)
        assert find_group_number(database["rotations"], database["translations"]) == kind.number


CELLS = {
    "triclinic": (5.1, 6.2, 7.3, 82, 87, 95),
    "b": (5.1, 6.2, 7.3, 90, 101, 90),
    "c": (5.1, 6.2, 7.3, 90, 90, 101),
    "a": (5.1, 6.2, 7.3, 101, 90, 90),
    "orthorhombic": (5.1, 6.2, 7.3, 90, 90, 90),
    "tetragonal": (6.2, 6.2, 7.3, 90, 90, 90),
    "hexagonal": (6.2, 6.2, 7.3, 90, 90, 120),
    "R": (6.2, 6.2, 6.2, 70, 70, 70),
    "cubic": (9.1, 9.1, 9.1, 90, 90, 90),
}


def cell_of(number_: int, choice: str) -> tuple[float, ...]:
    if choice == "R":
        return CELLS["R"]
    bounds = ((2, "triclinic"), (15, choice.strip("-")[:1]), (74, "orthorhombic"), (142, "tetragonal"))
    return CELLS[next((name for last, name in (*bounds, (194, "hexagonal"), (230, "cubic")) if number_ <= last), "")]


@pytest.mark.parametrize("first", range(1, NUM_SETTINGS + 1, 53))
def test_every_setting_by_its_name_gives_the_atoms_that_its_operations_give_in_pymatgen(first: int) -> None:
    """By the name of Hall, a crystal with an atom at a general place, against pymatgen with the listed operations."""
    for hall_number in range(first, min(first + 53, NUM_SETTINGS + 1)):
        kind = spglib.get_spacegroup_type(hall_number)
        database = spglib.get_symmetry_from_database(hall_number)
        cell = cell_of(kind.number, kind.choice)
        site = "Cu1 Cu 0.113 0.171 0.067"
        quote = '"' if "'" in kind.hall_symbol else "'"
        found = outcome(block(f"_space_group_name_Hall {quote}{kind.hall_symbol}{quote}", site, cell=cell))
        assert isinstance(found, Atoms), (kind, found)
        expected = np.array([0.113, 0.171, 0.067]) @ np.swapaxes(database["rotations"], 1, 2) + database["translations"]
        places = found.positions @ np.linalg.inv(found.lattice)
        assert len(places) == len(expected)
        distances = expected[:, None] - places[None]
        assert (np.abs(distances - np.rint(distances)).max(axis=2).min(axis=1) < 1e-6).all(), kind


CONTRADICTIONS = {
    "name not understood, number known": f"{GROUP} 'F -1'\n_symmetry_Int_Tables_number 2",
    "axes not understood, number known": f"{GROUP} 'C 4/m m m'\n_symmetry_Int_Tables_number 123",
    "two origins": f"{GROUP} 'F d -3 m :1'\n_symmetry_space_group_name_Hall '-F 4vw 2vw 3'",
    "two numbers": f"{GROUP} 'F m -3 m'\n_space_group_IT_number 221",
    "some operations": f"{GROUP} 'P m -3 m'\n{LISTED}'x,y,z'\n'-x,-y,-z'",
    "one operation": f"{GROUP} 'F m -3 m'\n{LISTED}'x,y,z'",
    "no group": f"{LISTED}'x,y,z'\n'y,z,x'",
    "no operation": f"{LISTED}'x,y'",
    "unknown": f"{GROUP} ?",
    "only a system": "_symmetry_cell_setting cubic",
    "key of no dictionary": "_space_group_number 225",
    "magnetic": "_space_group_magn.name_BNS 'P 4/mmm'",
    "quotes missing": f"{GROUP} P m -3 m",
    "given twice": f"{GROUP} 'P 1'\n{GROUP} 'F m -3 m'",
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_nothing_but_p1_is_read_as_p1(name: str) -> None:
    assert any(word in refusal(block(CONTRADICTIONS[name])) for word in ("group", "symmetry"))


def test_axes_of_another_setting() -> None:
    cell = (5.0, 6.0, 7.0, 90.0, 90.0, 90.0)
    both = f"{GROUP} 'P n m a'\n_symmetry_space_group_name_Hall '-P 2c 2ab'"
    assert "contradict" in refusal(block(both, "Cu1 Cu 0.1 0.25 0.2", cell=cell))
    assert "symmetry of the listed" in refusal(block(f"{LISTED}'x,y,z'\n'y,z,x'\n'z,x,y'", cell=cell))
    assert "several settings" in refusal(block(f"{GROUP} 'P 2/m'", "Cu1 Cu 0.1 0.2 0.3", cell=cell))
    nearly = (5.0, 6.0, 20.0, 90.0, 90.2, 90.0)
    assert len(symbols(block(f"{GROUP} 'P 21/c'", "Cu1 Cu 0.1 0.2 0.3", cell=nearly))) == 4


@pytest.mark.parametrize(
    "group",
    [
        "",
        f"{GROUP} 'P 1'",
        "_symmetry_cell_setting triclinic",
        f"{GROUP} .",
        f"{LISTED}'x, y, z'",
        "_symmetry_equiv_pos_as_xyz x,y,z",
    ],
)
def test_p1(group: str) -> None:
    assert symbols(block(group)) == [29]


def test_operations_of_other_dictionaries() -> None:
    """DDLm tags, and magnetic operations with centrings, whose fourth part turns moments only."""
    for tag in ("_space_group_symop.operation_xyz", "_space_group_symop_operation_xyz", "_symmetry_equiv.pos_as_xyz"):
        assert len(symbols(block(f"loop_\n{tag}\n'x,y,z'\n'-x,-y,-z'", "Cu1 Cu 0.1 0.2 0.3"))) == 2
    operations = "loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,-z,-1\n"
    magnetic = f"{operations}loop_\n_space_group_symop_magn_centering.xyz\n"
    assert len(symbols(block(f"{magnetic}x,y,z,+1\nx+1/2,y+1/2,z+1/2,-1", "Cu1 Cu 0.1 0.2 0.3"))) == 4


def test_two_origins_are_distinguished_by_the_statements_of_the_file() -> None:
    diamond = {"group": f"{GROUP} 'F d -3 m'", "cell": (5.43, 5.43, 5.43, 90, 90, 90)}
    eighth = "Si1 Si 0.125 0.125 0.125"  # 8 atoms of origin 2, 16 of origin 1
    assert "several settings" in refusal(block(sites=eighth, **diamond))  # type: ignore[arg-type]
    formula = "_chemical_formula_sum Si\n_cell_formula_units_Z 8"
    assert len(symbols(block(sites=eighth, extra=formula, **diamond))) == 8  # type: ignore[arg-type]
