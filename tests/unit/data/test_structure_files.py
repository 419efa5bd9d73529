"""Structure files of other people: read as they are meant, or refused with the reason; nothing is lost or imported."""

import bz2
import gzip
import lzma
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.remarks import structure_remarks
from dielectric_gnn.data.sources import StructureFiles
from dielectric_gnn.data.sources.parser_warnings import HARMLESS, reason_to_refuse
from dielectric_gnn.data.sources.space_groups import NUM_SETTINGS, find_settings, symmetry_operations
from dielectric_gnn.data.sources.structure_files import is_structure_file, read_structure
from dielectric_gnn.data.sources.structure_ids import material_ids
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.testing import crystal
from dielectric_gnn.utils.errors import InputError, RecordError

ODD = Path(__file__).parents[2] / "data/odd_inputs"

CIF = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {c}
_cell_angle_alpha {alpha}
_cell_angle_beta {alpha}
_cell_angle_gamma {gamma}
{group}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
{sites}
"""


def cif(
    group: str, sites: str = "Ag1 0 0 0", a: float = 4.09, c: float = 4.09, alpha: float = 90, gamma: float = 90
) -> str:
    return CIF.format(group=group, sites=sites, a=a, c=c, alpha=alpha, gamma=gamma)


def read(path: Path) -> tuple[list[CrystalRecord], list[str]]:
    """Records and reasons of a folder or file, bad ones skipped."""
    source = StructureFiles([str(path)])
    return list(source.records("skip")), [str(reject) for reject in source.rejects]


@pytest.mark.parametrize(
    ("name", "atoms"), [("Bi_H", 6), ("Ag_old", 4), ("Ag_hall", 4), ("Ag_full", 4), ("Si_2", 8), ("Mg_paren", 2)]
)
def test_stated_space_groups_are_understood(name: str, atoms: int) -> None:
    assert read_structure(ODD / "cif_space_group_becomes_P1" / f"{name}.cif").atomic_numbers.size == atoms


FCC_SPELLINGS = [
    "'F m -3 m'",
    "'Fm-3m'",
    "'F m 3 m'",
    "Fm3m",
    "'F_m_-3_m'",
    "'f m -3 m'",
    "'F 4/m -3 2/m'",
    "'F4/m-32/m'",
    "'FM-3M'",
]


@pytest.mark.parametrize("spelling", FCC_SPELLINGS)
@pytest.mark.parametrize(
    "key", ["_symmetry_space_group_name_H-M", "_space_group_name_H-M_alt", "_space_group_name_H-M_full"]
)
def test_spellings_of_one_group(spelling: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "Ag.cif").write_text(cif(f"{key} {spelling}"))
    record = read_structure(tmp_path / "Ag.cif")
    assert record.atomic_numbers.size == 4 and record.volume == pytest.approx(4.09**3)


@pytest.mark.parametrize(
    "key", ["_symmetry_Int_Tables_number 225", "_space_group_IT_number 225", "_space_group_name_Hall '-F 4 2 3'"]
)
def test_numbers_and_names_of_hall(key: str, tmp_path: Path) -> None:
    (tmp_path / "Ag.cif").write_text(cif(key))
    assert read_structure(tmp_path / "Ag.cif").atomic_numbers.size == 4


def test_every_setting_of_spglib_is_found_by_its_names_and_has_its_operations() -> None:
    """All 530: by the name of Hall exactly; by other names, a setting of that group, and this one among them."""
    for hall_number in range(1, NUM_SETTINGS + 1):
        kind = spglib.get_spacegroup_type(hall_number)
        assert (
            hall_number in [one.hall_number for one in find_settings(kind.hall_symbol, hall=True)] or hall_number == 324
        )
        group, *own = kind.international.split("=")
        for name in own or [group, kind.international_short, kind.international_full]:
            found = find_settings(name)
            assert {one.number for one in found} == {kind.number}, name
            assert hall_number in [one.hall_number for one in found] or kind.choice in ("1ba-c", "2ba-c"), name
    database = spglib.get_symmetry_from_database(525)
    assert len(symmetry_operations(find_settings("F d -3 m :1")[0])[0]) == len(database["rotations"]) == 192


@pytest.mark.parametrize(
    ("group", "cell", "atoms"),
    [
        ("'R -3 m'", {"a": 4.546, "c": 11.862, "gamma": 120}, 6),  # hexagonal axes, told by the cell
        ("'R -3 m'", {"a": 4.746, "c": 4.746, "alpha": 57.23, "gamma": 57.23}, 2),  # rhombohedral axes
        ("'R -3 m :R'", {"a": 4.746, "c": 4.746, "alpha": 57.23, "gamma": 57.23}, 2),
    ],
)
def test_the_cell_tells_hexagonal_from_rhombohedral_axes(
    group: str, cell: dict[str, float], atoms: int, tmp_path: Path
) -> None:
    place = "Bi1 0 0 0.234" if atoms == 6 else "Bi1 0.234 0.234 0.234"
    (tmp_path / "Bi.cif").write_text(cif(f"_symmetry_space_group_name_H-M {group}", place, **cell))
    assert read_structure(tmp_path / "Bi.cif").atomic_numbers.size == atoms


DIAMOND = "_symmetry_space_group_name_H-M 'F d -3 m'"
REFUSED = {
    "nonsense": (cif("_symmetry_space_group_name_H-M 'Q 7 m'"), "not recognised"),
    "two groups": (cif("_symmetry_space_group_name_H-M 'F m -3 m'\n_space_group_IT_number 221"), "contradict"),
    "cell of another symmetry": (cif("_space_group_IT_number 225", c=5.0), "does not have the symmetry"),
    "unstated origin": (cif(DIAMOND, "Si1 0.1 0.1 0.1\nC1 0.3 0.3 0.3", a=9.0, c=9.0), "settings"),
    "vacancy": (cif("_space_group_IT_number 221", "Va1 0 0 0"), "Va1"),
    "label of water": (cif("_space_group_IT_number 221", "Wat1 0 0 0"), "Wat1"),
    "hydroxide": (cif("_space_group_IT_number 221", "OH1 0 0 0"), "OH1"),
    "formula": (cif("_space_group_IT_number 225\n_chemical_formula_sum 'Ag H'"), "missing"),
    "formula units": (
        cif("_space_group_IT_number 225\n_chemical_formula_sum 'Ag'\n_cell_formula_units_Z 1"),
        "formula units",
    ),
    "no atoms": ("data_x\n_cell_length_a 3\n", "atom sites"),
    "no CIF": ("hello world", "first data block"),
    "huge number": (cif("_space_group_IT_number 221", f"Ag1 1{'0' * 400} 0 0"), "Ag.cif"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    text, reason = REFUSED[name]
    (tmp_path / "Ag.cif").write_text(text)
    with pytest.raises(RecordError) as caught:
        read_structure(tmp_path / "Ag.cif")
    assert (
        reason in str(caught.value) and "\n" not in str(caught.value) and str(tmp_path / "Ag.cif") in str(caught.value)
    )


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("cif_attached_hydrogens/attached_H.cif", "attached hydrogens"),
        ("cif_occupancy_dot/occ_missing.cif", "occupancy of site A2"),
        ("cif_reason_lost/occ_over.cif", "site A2 has occupancy 1.02"),
        ("cif_reason_lost/occ_1.00002.cif", "site A2 has occupancy 1.00002"),
        ("cif_reason_lost/dup.cif", "listed twice"),
        ("cif_reason_lost/unknown_coord.cif", "coordinate x of site H1"),
        ("dummy_site_message/dummy.cif", "type of 'X1'"),
        ("dummy_site_message/label_wat.cif", "site 'M1'"),
        ("vasp4_no_symbols/POSCAR", "no elements"),
        ("class_named_in_file/b.mson", "not of a supported format"),
        ("class_named_in_file/c.yaml", "not of a supported format"),
    ],
)
def test_odd_files_are_refused_with_the_reason(file: str, reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_structure(ODD / file)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_an_occupancy_left_out_is_one(tmp_path: Path) -> None:
    text = (ODD / "cif_occupancy_dot/occ_missing.cif").read_text().replace(" ?", " .")
    (tmp_path / "CuZn.cif").write_text(text)
    assert read_structure(tmp_path / "CuZn.cif").formula == "ZnCu"


def test_texts_in_other_encodings(tmp_path: Path) -> None:
    assert read_structure(ODD / "cif_reason_lost/ref_utf16.cif").formula == "CuAu"
    text = cif("_space_group_IT_number 225\n_publ_author_name 'Müller'")
    for encoding in ("latin-1", "utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "Ag.cif").write_bytes(text.encode(encoding))
        assert read_structure(tmp_path / "Ag.cif").atomic_numbers.size == 4
    (tmp_path / "Ag.cif").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(RecordError, match="zero bytes"):
        read_structure(tmp_path / "Ag.cif")


def test_every_data_block_is_a_material() -> None:
    records, rejects = read(ODD / "cif_two_blocks/multi.cif")
    assert [(one.material_id, one.formula) for one in records] == [
        ("multi-first", "CuAu"),
        ("multi-second_AgAu", "AgAu"),
    ]
    assert not rejects


def test_written_files_read_back(metals: list[CrystalRecord], tmp_path: Path) -> None:
    """CIF with and without symmetry, POSCAR, JSON, XSF, CSSR, compressed: the same crystals, whatever wrote them."""
    for record in metals[::17]:
        structure = Structure(
            Lattice(record.lattice), record.atomic_numbers.tolist(), record.positions, coords_are_cartesian=True
        )
        folder = tmp_path / record.material_id
        folder.mkdir()
        structure.to(str(folder / "a.cif"))
        CifWriter(structure, symprec=1e-3).write_file(folder / "b.cif")
        structure.to(str(folder / "c.vasp"), fmt="poscar")
        structure.to(str(folder / "d.json"))
        structure.to(str(folder / "e.xsf"))
        for name, opener in (("f.cif.gz", gzip.compress), ("g.cif.BZ2", bz2.compress), ("h.vasp.xz", lzma.compress)):
            plain = folder / ("a.cif" if "cif" in name else "c.vasp")
            (folder / name).write_bytes(opener(plain.read_bytes()))
        records, rejects = read(folder)
        assert not rejects and len(records) == 8
        for one in records:
            assert one.formula == record.formula
            assert one.volume / one.atomic_numbers.size == pytest.approx(
                record.volume / record.atomic_numbers.size, rel=1e-4
            )


def test_nothing_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ODD / "class_named_in_file/mod"))
    monkeypatch.chdir(tmp_path)
    for path in sorted((ODD / "class_named_in_file").iterdir()):
        if path.is_file():
            read(path)
    import sys

    assert "evilmod" not in sys.modules and not list(tmp_path.iterdir())
    for name in ("a.json", "d.json.xz", "e.JSON"):
        assert read_structure(ODD / "class_named_in_file" / name).formula == "CuAu"


def test_poscars_of_vasp_4_take_their_elements_from_the_potcar(tmp_path: Path) -> None:
    shutil.copy(ODD / "vasp4_no_symbols/POSCAR", tmp_path)
    (tmp_path / "POTCAR").write_text("   TITEL  = PAW_PBE Au 04Oct2007\n ...\n   TITEL  = PAW_PBE Cu_pv 22Jun2005\n")
    assert read_structure(tmp_path / "POSCAR").formula == "CuAu"
    (tmp_path / "POTCAR").write_text("   TITEL  = PAW_PBE Au 04Oct2007\n")
    with pytest.raises(RecordError, match="has 1 for 2"):
        read_structure(tmp_path / "POSCAR")
    text = (tmp_path / "POSCAR").read_text().splitlines()
    (tmp_path / "named.vasp").write_text("\n".join([*text[:7], text[7] + " Au", text[8] + " Cu"]) + "\n")
    assert read_structure(tmp_path / "named.vasp").formula == "CuAu"


def test_structures_that_are_not_periodic_are_refused(tmp_path: Path) -> None:
    lattice = Lattice(np.eye(3) * 4, pbc=(True, True, False))
    Structure(lattice, ["Ag"], [[0, 0, 0]]).to(str(tmp_path / "slab.json"))
    with pytest.raises(RecordError, match="pbc"):
        read_structure(tmp_path / "slab.json")


def test_a_composition_stated_beside_the_structure_is_compared(tmp_path: Path) -> None:
    import json

    structure = Structure(Lattice.cubic(3), ["Cu", "Zn"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict()
    for composition, fits in (({"Cu": 2.0, "Zn": 2.0}, True), ({"Cu": 1.0, "Zn": 1.0, "H": 1.0}, False)):
        (tmp_path / "entry.json").write_text(
            json.dumps({"structure": structure, "composition": composition}, default=str)
        )
        if fits:
            assert read_structure(tmp_path / "entry.json").formula == "ZnCu"
        else:
            with pytest.raises(RecordError, match="missing"):
                read_structure(tmp_path / "entry.json")


def test_folders_are_searched_with_their_subfolders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Upper-case endings, links, folders of folders; hidden files and other files of VASP are no structures."""
    good = (ODD / "cif_two_blocks/multi.cif").read_text().split("data_second")[0]
    deep = tmp_path / "only" / "folders"
    deep.mkdir(parents=True)
    (deep / "A.CIF").write_text(good)
    (deep / ".hidden.cif").write_text(good)
    (deep / "._A.CIF").write_text(good)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(ODD / "silently_left_out/inner/POSCAR", run)
    for name in ("INCAR", "KPOINTS", "OUTCAR", "vasprun.xml"):
        (run / name).write_text("x")
    (tmp_path / "gone.cif").symlink_to(tmp_path / "nowhere.cif")
    (tmp_path / "again.cif").symlink_to(deep / "A.CIF")
    records, rejects = read(tmp_path)
    assert [one.material_id for one in records] == ["again", "A", "run-POSCAR"]
    assert len(rejects) == 1 and "gone.cif" in rejects[0]
    assert "4" in caplog.text and "INCAR" in caplog.text
    with pytest.raises(RecordError, match=r"gone\.cif"):
        list(StructureFiles([str(tmp_path)]).records())
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match="no structure files"):
        read(tmp_path / "empty")


def test_the_log_says_once_what_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "Ag.cif").write_text(cif("_space_group_IT_number 225"))
    source = StructureFiles([str(tmp_path)])
    assert source.size() == len(list(source.records())) == 1
    assert caplog.text.count("notes.txt") == 1
    (tmp_path / "Cu.cif").write_text(cif("_space_group_IT_number 225", "Cu1 0 0 0"))
    assert len(list(source.records())) == 2  # a later reading finds what was added


def test_links_to_folders_are_followed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool, asked = tmp_path / "pool", tmp_path / "asked"
    (pool / "deep").mkdir(parents=True)
    asked.mkdir()
    (pool / "deep" / "Ag.cif").write_text(cif("_space_group_IT_number 225"))
    (asked / "linked").symlink_to(pool)
    (asked / "again").symlink_to(pool / "deep")
    (asked / "itself").symlink_to(asked)
    records, rejects = read(asked)
    assert [one.material_id for one in records] == ["Ag"] and not rejects
    assert "left out 2 links" in caplog.text


def test_what_a_calculation_wrote_is_read_where_its_poscar_is_not_beside_it(tmp_path: Path) -> None:
    poscar = (ODD / "silently_left_out/inner/POSCAR").read_text()
    (tmp_path / "both").mkdir()
    (tmp_path / "alone").mkdir()
    for name in ("POSCAR", "CHGCAR", "LOCPOT"):
        (tmp_path / "both" / name).write_text(poscar + "\n 2 1 1\n 0.1 0.2\n")
    (tmp_path / "alone" / "CHGCAR").write_text(poscar + "\n 2 1 1\n 0.1 0.2\n")
    records, rejects = read(tmp_path)
    assert [one.material_id for one in records] == ["alone-CHGCAR", "both-POSCAR"] and not rejects


def test_names_of_files_that_share_theirs() -> None:
    records, rejects = read(ODD / "same_id")
    found = {one.material_id: one.formula for one in records}
    assert found == {"a-relax-POSCAR": "CuAu", "b-relax-POSCAR": "Ag", "POSCAR.Ag": "Ag", "POSCAR.Cu": "Cu"}
    assert not rejects
    paths = [ODD / "same_id/flat/POSCAR.Cu", ODD / "same_id/b/relax/POSCAR", ODD / "same_id/a/relax/POSCAR"]
    for order in (paths, paths[::-1]):
        names = {one.material_id: one.formula for one in StructureFiles([str(path) for path in order]).records()}
        assert names == {name: found[name] for name in names} and len(names) == 3


def test_names_grow_until_they_differ() -> None:
    paths = [Path(p) for p in ("/d/x/a.cif", "/d/y/a.cif", "/e/x/a.cif", "/d/x/a.vasp", "/d/x/b.cif")]
    names = material_ids(paths, lambda path: path.stem)
    assert names == ["d-x-a.cif", "y-a.cif", "e-x-a.cif", "a.vasp", "b"]
    order = [3, 0, 4, 2, 1]
    assert material_ids([paths[place] for place in order], lambda path: path.stem) == [names[place] for place in order]


def test_the_same_file_twice_is_one_material() -> None:
    path = str(ODD / "silently_left_out/v5.vasp")
    assert len(list(StructureFiles([path, path, str(ODD / "silently_left_out")]).records("skip"))) == 2


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes there")
def test_one_bad_file_ends_nothing(tmp_path: Path) -> None:
    """Names that are not UTF-8, numbers beyond all bounds, files that break parsers."""
    good = cif("_space_group_IT_number 225")
    (tmp_path / "good.cif").write_text(good)
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/na\xffme.cif"))).write_text(good)
    (tmp_path / "huge.json").write_text(
        '{"lattice": {"matrix": [[1' + "0" * 400 + ', 0, 0], [0, 1, 0], [0, 0, 1]]}, "sites": []}'
    )
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "zeros.vasp").write_bytes(bytes(1000))
    (tmp_path / "short.cif.gz").write_bytes(gzip.compress(good.encode())[:30])
    records, rejects = read(tmp_path)
    assert len(records) == 2 and len(rejects) == 5
    assert all("\n" not in reject for reject in rejects)


def test_warnings_are_refused_unless_known() -> None:
    assert reason_to_refuse(["No Pauling electronegativity for He. Setting to NaN."]) is None
    assert reason_to_refuse(["No _symmetry_equiv_pos_as_xyz type key found. Defaulting to P1."]) is not None
    assert (
        reason_to_refuse(["Structure has implicit hydrogens defined,\n parsed"])
        == "Structure has implicit hydrogens defined, parsed"
    )
    assert all(isinstance(pattern, str) for pattern in HARMLESS)


def test_names_of_structure_files() -> None:
    yes = [
        "a.cif",
        "a.CIF.gz",
        "POSCAR",
        "POSCAR.Ag",
        "CONTCAR_1",
        "a.vasp",
        "x.POSCAR",
        "a.json.xz",
        "vasprun.xml",
        "a.res",
        "Ag_POSCAR",
        "mp-1-CONTCAR",
        "POSCAR2",
        "CHGCAR",
        "LOCPOT.gz",
    ]
    no = [
        "INCAR",
        "POTCAR",
        "a.txt",
        "a.yaml",
        "a.mson",
        "a.pkl",
        "README.md",
        "OUTCAR",
        "a.json.txt",
        "poscars",
        "myposcar",
        "CHGCAR_diff",
    ]
    assert all(is_structure_file(Path(name)) for name in yes)
    assert not any(is_structure_file(Path(name)) for name in no)


def test_the_cure_for_an_unsupported_element_is_named(tmp_path: Path) -> None:
    Structure(Lattice.cubic(3.5), ["U"], [[0, 0, 0]]).to(filename=str(tmp_path / "uranium.cif"))
    with pytest.raises(RecordError, match=r"uranium.*atomic number 92.*--data\.on_error skip"):
        CrystalDataModule(crystals=[str(tmp_path)]).setup("predict")


def test_remarks_on_unusual_structures() -> None:
    records, _ = read(ODD / "isolated_atoms")
    store = CrystalStore.from_records(records, 5.5)
    remarks = {record.material_id: store.remarks(row) for row, record in enumerate(records)}
    assert any("no neighbour" in remark and "Au" in remark for remark in remarks["atom_box"])
    assert any("Å³ per atom" in remark for remark in remarks["pm"]) and any("per atom" in r for r in remarks["water"])
    usual = CrystalStore.from_records([crystal("Ag", (np.eye(3) * 2.6).tolist(), [47], [[0, 0, 0]])], 5.5)
    assert usual.remarks(0) == []
    assert "3 others" in structure_remarks([47] * 6, np.zeros(6, dtype=int), 100.0, 5.5)[0]


def test_the_embedded_metals_are_usual(metals: list[CrystalRecord]) -> None:
    store = CrystalStore.from_records(metals, 5.5)
    assert not any(store.remarks(row) for row in range(len(store)))
