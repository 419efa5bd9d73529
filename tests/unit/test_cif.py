"""The CIF reader: against pymatgen's parser, the tables of spglib and of the Crystallography Open Database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymatgen.symmetry
import pytest
import spglib
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from pymatgen.io.cif import CifParser

from dielectric_gnn.data.sources.cif import Atoms, read_cif
from dielectric_gnn.data.sources.cif_symmetry import _codes, _operation
from dielectric_gnn.data.sources.cif_text import number, read_blocks
from dielectric_gnn.data.sources.formulas import check_formula, check_units, parse_formula
from dielectric_gnn.data.sources.space_groups import NUM_SETTINGS, group_number_of, operations_of, settings_of
from dielectric_gnn.errors import RecordError

CUBE = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
LISTED = "loop_\n_symmetry_equiv_pos_as_xyz\n"
GROUP = "_symmetry_space_group_name_H-M"


def block(
    group: str = f"{GROUP} 'P m -3 m'",
    sites: str = "Cu1 Cu 0 0 0",
    columns: str = "label type_symbol fract_x fract_y fract_z",
    cell: tuple[float, ...] = CUBE,
    extra: str = "",
    name: str = "x",
) -> str:
    tags = [*(f"length_{axis}" for axis in "abc"), "angle_alpha", "angle_beta", "angle_gamma"]
    lines = [f"data_{name}", *(f"_cell_{tag} {value:g}" for tag, value in zip(tags, cell, strict=True)), group, extra]
    return "\n".join([*lines, "loop_", *(f"_atom_site_{column}" for column in columns.split()), sites, ""])


def outcome(text: str) -> Atoms | RecordError:
    """Of the only block of a text."""
    try:
        ((_, found),) = read_cif(text, "x.cif")
    except RecordError as error:
        return error
    return found


def symbols(text: str) -> list[int]:
    found = outcome(text)
    if isinstance(found, RecordError):
        raise found
    return sorted(found.numbers.tolist())


def refusal(text: str) -> str:
    found = outcome(text)
    assert isinstance(found, RecordError), "the file was read"
    assert "\n" not in str(found)
    return str(found)


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
            found = [codes(*operations_of(one)) for one in settings_of(name, hall=hall)]
            assert not found or expected in found, name
            understood += bool(found)
            if ":" in name or hall:
                assert len(found) <= 1 or all(one == found[0] for one in found) or "c c" in name.lower(), name
    assert understood > 2 * 500


@pytest.mark.parametrize("name", ["C m c a", "Cmca", "A b m 2", "C c c a :2", "C m m a", "B b a b :1", "P n c b :2"])
def test_names_of_before_the_letter_e(name: str) -> None:
    entries = {entry["universal_h_m"].replace(" ", ""): entry for entry in table_of_cod()}
    (setting,) = settings_of(name)
    if (entry := entries.get(name.replace(" ", ""))) is not None:
        pairs = [_operation(text) for text in entry["symops"]]
        assert codes(np.array([one for one, _ in pairs]), np.array([one for _, one in pairs])) == codes(
            *operations_of(setting)
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
        assert group_number_of(database["rotations"], database["translations"]) == kind.number


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
    for hall_number in range(first, min(first + 53, NUM_SETTINGS + 1), 4):
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


def as_structure(atoms: Atoms) -> Structure:
    return Structure(Lattice(atoms.lattice), atoms.numbers, atoms.positions, coords_are_cartesian=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("symprec", [None, 0.01])
def test_files_of_pymatgen_are_read_as_pymatgen_reads_them(symprec: float | None, metals: list[Any]) -> None:
    for record in metals[::9]:
        structure = Structure(
            Lattice(record.lattice), record.atomic_numbers.tolist(), record.positions, coords_are_cartesian=True
        )
        text = str(structure.to(fmt="cif", symprec=symprec))
        found = outcome(text)
        assert isinstance(found, Atoms), found
        (expected,) = CifParser.from_str(text).parse_structures(primitive=False)
        assert as_structure(found).matches(expected, scale=False, primitive_cell=False)
        np.testing.assert_allclose(found.lattice, expected.lattice.matrix, atol=1e-9)


@pytest.mark.parametrize(
    "kind",
    [
        *("NO3", "CO3", "CO2", "H2O", "OH", "O-H", "NH4", "Pb/Bi", "Fe,Ni", "Cu0.5Zn0.5", "Fe3+|Fe2+", "Cu:Zn"),
        *("Cu+Zn", "Cu?", "Va", "Vac", "X", "M", "Wat", "Cu_Zn", "0.8Nb + 0.2Zr"),
    ],
)
def test_types_that_only_begin_like_an_element_are_refused(kind: str) -> None:
    assert "site" in refusal(block(sites=f"Q1 '{kind}' 0 0 0"))


@pytest.mark.parametrize(
    ("kind", "z"),
    [("Cu", 29), ("CU", 29), ("cu", 29), ("Cu2+", 29), ("Cu+2", 29), ("Cu+", 29), ("Cu0", 29), ("Cu1", 29), ("W", 74),
     ("O2-", 8), ("D", 1), ("CO", 27)],
)  # fmt: skip
def test_types_of_elements_and_charges(kind: str, z: int) -> None:
    assert symbols(block(sites=f"Q1 {kind} 0 0 0")) == [z]


@pytest.mark.parametrize(
    ("label", "z"),
    [("Cu1", 29), ("Cu", 29), ("Fe(1)", 26), ("Cu1A", 29), ("AG1", 47), ("Fe2+", 26), ("Cu_1", 29), ("C1'", 6),
     ("NO3", None), ("CO2", None), ("H2O", None), ("O1W", None), ("OW1", None), ("OH1", None), ("Wat1", None),
     ("Va1", None), ("M1", None), ("CuZn1", None), ("Cu/Zn", None), ("CU1", None), ("HO1", None)],
)  # fmt: skip
def test_labels_where_types_are_not_given(label: str, z: int | None) -> None:
    text = block(sites=f"{label} 0 0 0", columns="label fract_x fract_y fract_z")
    if z is not None:
        assert symbols(text) == [z]
    else:
        assert f"'{label}'" in refusal(text)


def test_the_formula_tells_copper_from_carbon() -> None:
    columns = "label fract_x fract_y fract_z"
    assert symbols(block(sites="CU1 0 0 0", columns=columns, extra="_chemical_formula_sum Cu")) == [29]
    assert symbols(block(sites="CU1 0 0 0", columns=columns, extra="_chemical_formula_sum C")) == [6]


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


@pytest.mark.parametrize(
    ("group", "cell", "place", "atoms"),
    [
        ("'P 63/m m c'", (3.21, 3.21, 5.21, 90, 90, 120), "0.3333 0.6667 0.25", 2),
        ("'P 63/m m c'", (3.21, 3.21, 5.21, 90, 90, 120), "0.333 0.667 0.25", 2),
        ("'P 6/m m m'", (8.0, 8.0, 5.0, 90, 90, 120), "0.1667 0.3333 0", 6),
        ("'F m -3 m'", (4.09,) * 3 + (90,) * 3, "0.0001 0 0.9999", 4),
        ("'P m -3 m'", (4.0,) * 3 + (90,) * 3, "0.03 0 0", 6),
    ],
)
def test_rounded_coordinates_on_symmetry_elements(group: str, cell: tuple[float, ...], place: str, atoms: int) -> None:
    found = outcome(block(f"{GROUP} {group}", f"Mg1 Mg {place}", cell=cell))
    assert isinstance(found, Atoms) and len(found.numbers) == atoms
    if atoms == 2:
        np.testing.assert_allclose(
            (found.positions @ np.linalg.inv(found.lattice))[0], [1 / 3, 2 / 3, 1 / 4], atol=1e-9
        )


def test_two_origins_are_told_apart_by_what_the_file_states() -> None:
    diamond = {"group": f"{GROUP} 'F d -3 m'", "cell": (5.43, 5.43, 5.43, 90, 90, 90)}
    eighth = "Si1 Si 0.125 0.125 0.125"  # 8 atoms of origin 2, 16 of origin 1
    assert "several settings" in refusal(block(sites=eighth, **diamond))  # type: ignore[arg-type]
    formula = "_chemical_formula_sum Si\n_cell_formula_units_Z 8"
    assert len(symbols(block(sites=eighth, extra=formula, **diamond))) == 8  # type: ignore[arg-type]


def test_every_block_is_read_or_refused() -> None:
    cartesian = block(name="c", columns="label type_symbol Cartn_x Cartn_y Cartn_z")
    text = block(name="same") + block(name="same", sites="Ag1 Ag 0 0 0") + cartesian + "data_paper\n_title 'x'\n"
    found = list(read_cif(text + block(name="water", sites="O1 Wat 0 0 0"), "x.cif"))
    assert [name for name, _ in found] == ["same", "same-2", "c", "water"]
    assert [isinstance(atoms, Atoms) for _, atoms in found] == [True, True, False, False]
    assert "block c" in str(found[2][1]) and "fractional" in str(found[2][1])


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("occupancy", "0", "occupancy 0"),
        ("occupancy", "-1", "occupancy -1"),
        ("occupancy", "0.5", "disorder"),
        ("occupancy", "1.02", "occupancy 1.02"),
        ("occupancy", "nan", "number"),
        ("attached_hydrogens", "2", "hydrogens"),
        ("calc_flag", "dum", "dummy"),
    ],
)
def test_sites_that_are_not_one_whole_atom_are_refused(column: str, value: str, reason: str) -> None:
    columns = f"label type_symbol fract_x fract_y fract_z {column}"
    assert reason in refusal(block(sites=f"Cu1 Cu 0 0 0 {value}", columns=columns))
    assert symbols(block(sites="Cu1 Cu 0 0 0 .", columns=columns)) == [29]


def test_sites_listed_twice_are_named() -> None:
    reason = refusal(block(sites="Cu1 Cu 0 0 0\nZn1 Zn 0.5 0.5 0\nZn2 Zn 0 0.5 0.5"))
    assert "Zn1" in reason and "Zn2" in reason and "listed twice" in reason


def test_mixed_valence_is_one_element() -> None:
    oxidation = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\nFe2+ 2\nFe3+ 3\nO2- -2\n"
    sites = "Fe1 Fe2+ 0 0 0\nFe2 Fe3+ 0.5 0.5 0\nO1 O2- 0.5 0.5 0.5"
    text = block(f"{GROUP} 'P 4/m m m'", sites, extra=f"{oxidation}_chemical_formula_sum 'Fe2 O1'")
    assert symbols(text) == [8, 26, 26]


def test_formulas_are_compared_exactly_or_as_they_are_rounded() -> None:
    assert parse_formula("Ca (O H)2") == {20: 1, 8: 2, 1: 2}
    check_formula(parse_formula("Cu3 Au"), {29: 6, 79: 2})
    check_formula(parse_formula("B0.67 Mg0.33"), {5: 2, 12: 1})
    for stated, found in (("Cu99 H1", {29: 99}), ("C60 H60", {6: 60, 1: 59}), ("Cu Zn", {29: 2, 30: 1})):
        with pytest.raises(ValueError, match="stated"):
            check_formula(parse_formula(stated), found)
    check_units(parse_formula("Si"), "8", {14: 8})
    check_units(parse_formula("Si8"), "8", {14: 8})  # as pymatgen writes it
    with pytest.raises(ValueError, match="formula units"):
        check_units(parse_formula("Si"), "8", {14: 1})
    for wrong in ("brass", "Cu1-x", "X1 Au1", ""):
        with pytest.raises(ValueError, match="formula"):
            parse_formula(wrong)


def test_syntax() -> None:
    """Comments, quotes within words, text fields, capitals, lines of other systems, one value without a loop."""
    head = "#\\#CIF_1.1\r\nDATA_one # x\r\n_A.b_ 'it''s # not'\r\n_c\r\n;two\r\n data_lines\r\n;\r\n"
    text = head + "LOOP_\r\n_d _e\r\n1 'x y'\r\n. \"?\"\r\n"
    (found,) = read_blocks(text)
    assert found.name == "one" and found.value("_a_b") == "it''s # not" and found.value("_c") == "two\n data_lines"
    assert found.column("_d") == ["1", "."] and found.column("_e") == ["x y", "?"]
    for wrong in ("hello", "_cell_length_a 3", "data_x\nsave_y\n"):
        with pytest.raises(ValueError, match=r"block|save"):
            read_blocks(wrong)
    (uneven,) = read_blocks("data_x\nloop_\n_p\n_q\n1 2 3\n_r 1\n")
    assert uneven.value("_r") == "1"
    with pytest.raises(ValueError, match="_p"):
        uneven.column("_p")
    single = block().replace("loop_\n", "").replace("Cu1 Cu 0 0 0\n", "")
    for tag, value in zip(
        ("label", "type_symbol", "fract_x", "fract_y", "fract_z"), ["Cu1", "Cu", "0", "0", "0"], strict=True
    ):
        single = single.replace(f"_atom_site_{tag}\n", f"_atom_site_{tag} {value}\n")
    assert symbols(single) == [29]


def test_numbers() -> None:
    assert [number(text) for text in ("1.5(3)", "-.5", "+2.", "1e-3")] == [1.5, -0.5, 2.0, 1e-3]
    for wrong in ("?", ".", "1.5(3", "inf", "nan", "1,5", "1" + "0" * 400, ""):
        with pytest.raises(ValueError, match="number"):
            number(wrong)
    assert "coordinate y of site Cu1" in refusal(block(sites="Cu1 Cu 0 . 0"))
    assert "_cell_length_a" in refusal(block().replace("_cell_length_a 4", "_cell_length_a ?"))
    assert "modulated" in refusal(block(extra="_cell_modulation_dimension 1"))
