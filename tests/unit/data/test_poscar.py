"""POSCAR files, and formats that pymatgen reads: what is stated is read, or the reason is given."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.vasp import Poscar

from dielectric_gnn.data.sources.structure_files import read_structure
from dielectric_gnn.utils.errors import RecordError

HEAD = "a comment\n1.0\n3 0 0\n0 3.1 0\n0 0 3.2\n"
GOOD = {
    "direct": f"{HEAD}Cu Zn\n1 1\nDirect\n0 0 0\n.5 .5 .5\n",
    "cartesian": f"{HEAD}Cu Zn\n1 1\nCartesian\n0 0 0\n1.5 1.5 1.5\n",
    "scaled": f"{HEAD}Cu Zn\n1 1\nkartesisch\n0 0 0\n1.5 1.5 1.5\n".replace("1.0", "1.1"),
    "volume": f"{HEAD}Cu Zn\n1 1\nDirect\n0 0 0\n.5 .5 .5\n".replace("1.0", "-40"),
    "selective": f"{HEAD}Cu Zn\n1 1\nSelective dynamics\nDirect\n0 0 0 T T F\n.5 .5 .5 T F F\n",
    "potentials": f"{HEAD}Cu_pv/474ac0d Zn\n1 1\nDirect\n0 0 0\n.5 .5 .5\n",
    "several lines": f"{HEAD}Cu\nZn\n1\n1\nDirect\n0 0 0\n.5 .5 .5\n",
    "names at the end": f"{HEAD}1 1\nDirect\n0 0 0 Cu\n.5 .5 .5 Zn\n",
    "velocities": f"{HEAD}Cu Zn\n1 1\nDirect\n0 0 0\n.5 .5 .5\n\n0.1 0.1 0.1\n0.1 0.1 0.1\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_structures_are_those_of_pymatgen(name: str, tmp_path: Path) -> None:
    path = tmp_path / "POSCAR"
    path.write_text(GOOD[name])
    found = read_structure(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Poscar.from_str(GOOD[name]).structure
    np.testing.assert_array_equal(found.atomic_numbers, expected.atomic_numbers)
    np.testing.assert_allclose(found.lattice, expected.lattice.matrix, atol=1e-12)
    np.testing.assert_allclose(found.positions, expected.cart_coords, atol=1e-12)


def test_what_only_newer_vasp_and_fortran_write(tmp_path: Path) -> None:
    for text in (GOOD["direct"].replace("1.0", "1 1 1"), GOOD["direct"].replace(".5 .5 .5", "5.0d-1 .5 .5 ! half")):
        for ends in ("\n", "\r\n", "\r"):
            (tmp_path / "a.vasp").write_bytes(text.replace("\n", ends).encode())
            found = read_structure(tmp_path / "a.vasp")
            np.testing.assert_allclose(found.positions[1], [1.5, 1.55, 1.6])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{HEAD}Cu Zn\n1\nDirect\n0 0 0\n", "2 symbols with 1"),
        (f"{HEAD}Cu\n1 1\nDirect\n0 0 0\n.5 .5 .5\n", "1 symbols with 2"),
        (f"{HEAD}Cu\n1\nDirect\n0 0 0\n.5 .5 .5\n", "more positions"),
        (f"{HEAD}Cu\n2\nDirect\n0 0 0\n", "line 10"),
        (f"{HEAD}Cu\n1\n0 0 0\n.5 .5 .5\n", "Direct or Cartesian"),
        (f"{HEAD}X\n1\nDirect\n0 0 0\n", "'X' is not an element"),
        (f"{HEAD}Cu Vac\n1 1\nDirect\n0 0 0\n.5 .5 .5\n", "'Vac' is not an element"),
        (f"{HEAD}1 1\nDirect\n0 0 0\n.5 .5 .5\n", "no elements"),
        (f"{HEAD}1 1\nSelective\nDirect\n0 0 0 T T T\n.5 .5 .5 F F F\n", "no elements"),
        (f"{HEAD}1 1\nDirect\n0 0 0 F\n.5 .5 .5 F\n", "no elements"),
        (f"{HEAD}2\nDirect\n0 0 0 Cu\n.5 .5 .5 Zn\n", "after the coordinates"),
        (f"{HEAD}Cu\n1\nDirect\nnan 0 0\n", "a position"),
        (f"{HEAD}Cu\n0\nDirect\n", "no atoms"),
        (HEAD.replace("1.0", "0") + "Cu\n1\nDirect\n0 0 0\n", "scale"),
        ("x\n", "lines"),
    ],
)
def test_poscars_that_lack_or_contradict_something_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.vasp").write_text(text)
    with pytest.raises(RecordError) as caught:
        read_structure(tmp_path / "a.vasp")
    assert reason in str(caught.value) and "a.vasp" in str(caught.value) and "\n" not in str(caught.value)


XSF = "CRYSTAL\nPRIMVEC\n3 0 0\n0 3 0\n0 0 3\nPRIMCOORD\n1 1\nAg 0 0 0\n"
CSSR = "4 4 4\n90 90 90 SPGR = 1 P 1 OPT = 1\n2 0\n0 Cu\n1 Cu 0 0 0\n2 Zn 0.5 0.5 0.5\n"
RES = "TITL x 0 0 0 0 0 1 (P1) n - 1\nCELL 1.54180 4.09 4.09 4.09 90 90 90\nLATT -1\nSFAC Ag\nAg 1 0 0 0 1.0\nEND\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.xsf", XSF, None),
        ("a.xsf", XSF.replace("CRYSTAL", "SLAB"), "slab"),
        ("a.xsf", "MOLECULE\nATOMS\nAg 0 0 0\n", "molecule"),
        ("a.xsf", XSF.replace("1 1", "2 1"), "2 atoms"),
        ("a.cssr", CSSR, None),
        ("a.cssr", CSSR.replace("2 Zn 0.5", "2 Zn 5e-1"), "2 atoms"),
        ("a.cssr", CSSR.replace("SPGR = 1 P 1", "SPGR = 225 F m -3 m"), "space group is 225"),
        ("a.res", RES, None),
        ("a.res", RES.replace("LATT -1", "LATT 1"), "symmetry"),
        ("a.res", RES.replace("SFAC", "SYMM -X,-Y,Z\nSFAC"), "symmetry"),
    ],
)
def test_what_pymatgen_leaves_out_of_other_formats_is_refused(
    name: str, text: str, reason: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    if reason is None:
        assert read_structure(tmp_path / name).atomic_numbers.size == (2 if name == "a.cssr" else 1)
        return
    with pytest.raises(RecordError) as caught:
        read_structure(tmp_path / name)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ('"formula": "Cu2 H1"', "formula"),
        ('"composition": "CuH"', "formula"),
        ('"composition": {"Cu": 1.0, "H": 1.0}', "formula"),
        ('"pbc": [true, true, false]', "pbc"),
        ('"formula": "Cu2"', None),
    ],
)
def test_what_json_states_beside_a_structure_is_compared(beside: str, reason: str | None, tmp_path: Path) -> None:
    site = '{"species": [{"element": "Cu", "occu": 1}], "abc": [0, 0, 0]}'
    structure = f'{{"lattice": {{"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}}, "sites": [{site}]}}'
    (tmp_path / "a.json").write_text(f'{{"structure": {structure}, {beside}}}')
    if reason is None:
        assert read_structure(tmp_path / "a.json").formula == "Cu"
    else:
        with pytest.raises(RecordError, match=reason):
            read_structure(tmp_path / "a.json")
