"""The CIF reader: against pymatgen's parser, and what it refuses."""

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

from dielectric_gnn.data.sources.cif import Atoms, read_cif
from dielectric_gnn.data.sources.cif_text import number, read_blocks
from dielectric_gnn.data.sources.formulas import check_formula, check_units, parse_formula
from tests.cif_files import GROUP, block, outcome, refusal, symbols


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
