"""Other codes: small files of their layouts, with a response in closed form."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources import Calculations
from dielectric_gnn.data.sources.calculations.elk import read_geometry as read_elk_geometry
from dielectric_gnn.data.sources.calculations.fhi_aims import read_geometry
from dielectric_gnn.data.sources.calculations.pw_input import read_pw_input
from dielectric_gnn.data.sources.calculations.tables import number
from dielectric_gnn.utils.errors import RecordError
from tests.calculation_files import (
    FCC,
    TETRAGONAL,
    TRICLINIC,
    energies_to,
    poscar,
    response,
    tensor,
    write_elk,
    write_epsilon_x,
    write_exciting,
    write_fhi_aims,
    write_gpaw,
    write_pw_input,
    write_simple_ip,
    write_yambo,
)

ROWS = [12, 40, 90]
DIAGONAL = ("xx", "yy", "zz")


def read(path: Path, **options: object) -> CrystalRecord:
    return next(Calculations(str(path), **options).records())  # type: ignore[arg-type]


def labels_of(record: CrystalRecord) -> OpticalLabels:
    assert record.labels is not None
    return record.labels


def check_spectra(labels: OpticalLabels, expected: list[np.ndarray], tolerance: float = 2e-6) -> None:
    """Components at three energies."""
    energies = labels.grid.energies()
    for component, values in zip(labels.eps_inter, expected, strict=True):
        for row in ROWS:
            place = int(np.argmin(np.abs(energies - energies_to()[row])))
            assert component[place] == pytest.approx(values[row], abs=tolerance)


def test_simple_ip(tmp_path: Path) -> None:
    write_simple_ip(tmp_path / "al")
    record = read(tmp_path)
    labels, expected = labels_of(record), tensor(energies_to())
    assert record.material_id == "al" and record.metadata["code"] == "simple_ip.x"
    check_spectra(labels, [expected[name] for name in DIAGONAL])
    np.testing.assert_allclose(labels.drude, [9.4, 9.3, 9.2])
    assert labels.broadening == 0.1  # of interband transitions; drude_degauss is a smearing of occupations
    assert any("Drude term is 0.2" in remark for remark in record.metadata["remarks"])
    a = 7.65 * 0.529177210903
    np.testing.assert_allclose(record.lattice, a / 2 * np.array([[-1, 0, 1], [0, 1, 1], [-1, 1, 0]]))


def test_simple_ip_without_output_has_no_drude_frequency(tmp_path: Path) -> None:
    write_simple_ip(tmp_path)
    (tmp_path / "al_simple_ip.out").unlink()
    labels = labels_of(read(tmp_path, broadening_ev=0.3))
    assert np.isnan(labels.drude).all() and labels.drude.shape == (3,) and labels.broadening == 0.3


def test_simple_ip_mistakes(tmp_path: Path) -> None:
    write_simple_ip(tmp_path)
    output = tmp_path / "al_simple_ip.out"
    text = output.read_text()
    output.write_text(text[: text.index("INPUT")])
    with pytest.raises(RecordError, match=r"al_simple_ip.out.*breaks off"):
        read(tmp_path)
    output.write_text(text)
    (tmp_path / "other.out").write_text(text.replace("9.40000", "5.00000"))
    with pytest.raises(RecordError, match="differ from"):
        read(tmp_path)
    (tmp_path / "other.out").unlink()
    real = tmp_path / "al.eps_inter_re.dat"
    real.write_text((tmp_path / "al.eps_tot_re.dat").read_text())
    with pytest.raises(RecordError, match="NaN or infinite"):
        read(tmp_path)
    (tmp_path / "al.eps_inter_im.dat").unlink()
    with pytest.raises(RecordError, match="is missing beside it"):
        read(tmp_path)


def test_epsilon_x_does_not_take_sum_rule_plasmons_for_drude(tmp_path: Path) -> None:
    write_epsilon_x(tmp_path)
    labels, expected = labels_of(read(tmp_path)), tensor(energies_to())
    check_spectra(labels, [expected[name] for name in DIAGONAL])
    assert np.isnan(labels.drude).all()
    assert labels.broadening == pytest.approx(0.1)  # half of intersmear


def test_epsilon_x_of_a_metal_is_refused(tmp_path: Path) -> None:
    write_epsilon_x(tmp_path, occupations="smearing")
    with pytest.raises(RecordError, match=r"occupations are smearing.*simple_ip\.x"):
        read(tmp_path)


def test_gpaw_reads_the_columns_without_local_fields(tmp_path: Path) -> None:
    write_gpaw(tmp_path)
    labels = labels_of(read(tmp_path))
    check_spectra(labels, [response(energies_to())] * 3)
    assert labels.broadening is None and not labels.has_drude


def test_infinite_values_are_refused_with_component_and_energy(tmp_path: Path) -> None:
    write_gpaw(tmp_path / "runs" / "a")
    table = tmp_path / "runs" / "a" / "df.csv"
    rows = table.read_text().splitlines()
    rows[7] = "0.7, inf, 0.1, 1.0, 0.1"
    table.write_text("\n".join(rows))
    (tmp_path / "drude.csv").write_text("mat_id,drude_x,drude_y,drude_z\na,1,1,1\n")
    with pytest.raises(RecordError, match=r"1 values of component xx.*0\.7 eV"):
        read(tmp_path / "runs", drude_csv=str(tmp_path / "drude.csv"))


def test_directions_are_completed_by_symmetry_or_refused(tmp_path: Path) -> None:
    write_gpaw(tmp_path / "two", ("df_x.csv", "df_z.csv"), lattice=TETRAGONAL)
    x, z = response(energies_to()), response(energies_to(), 50.0)
    check_spectra(labels_of(read(tmp_path / "two")), [x, x, z])
    write_gpaw(tmp_path / "one", lattice=TETRAGONAL)
    with pytest.raises(RecordError, match=r"xx alone.*compute yy, zz"):
        read(tmp_path / "one")
    write_gpaw(tmp_path / "low", ("df_x.csv", "df_y.csv", "df_z.csv"), lattice=TRICLINIC)
    assert labels_of(read(tmp_path / "low")).num_components == 3  # all that is written


def test_fhi_aims_reads_the_interband_part(tmp_path: Path) -> None:
    write_fhi_aims(tmp_path)
    record = read(tmp_path)
    labels, expected = labels_of(record), tensor(energies_to())
    check_spectra(labels, [expected[name] for name in DIAGONAL], tolerance=2e-5)
    np.testing.assert_allclose(labels.drude, 12.0)
    assert labels.broadening == 0.1 and record.metadata["functional"] == "PBE"
    np.testing.assert_allclose(record.lattice, 4.05 * FCC)


def test_fhi_aims_of_an_insulator_keeps_off_diagonals(tmp_path: Path) -> None:
    write_fhi_aims(tmp_path, kind="Gaussian", plasma=0.0)
    record = read(tmp_path)
    labels, expected = labels_of(record), tensor(energies_to())
    check_spectra(labels, [expected[name] for name in ("xx", "yy", "zz", "yz", "xz", "xy")], tolerance=2e-5)
    assert not labels.drude.any() and labels.broadening is None
    assert any("Gaussian" in remark for remark in record.metadata["remarks"])


def test_exciting_writes_hartree(tmp_path: Path) -> None:
    write_exciting(tmp_path)
    record = read(tmp_path)
    labels = labels_of(record)
    assert labels.grid.stop == pytest.approx(10.0)
    check_spectra(labels, [tensor(energies_to())["xx"]] * 3)
    assert labels.broadening == pytest.approx(0.1) and record.metadata["functional"] == "PBE"
    np.testing.assert_allclose(record.lattice, 4.05 * FCC, rtol=1e-7)


def test_exciting_with_intraband_term_is_refused(tmp_path: Path) -> None:
    write_exciting(tmp_path, intraband="true")
    with pytest.raises(RecordError, match="intraband false"):
        read(tmp_path)


def test_elk_writes_two_blocks_in_hartree(tmp_path: Path) -> None:
    write_elk(tmp_path)
    record = read(tmp_path)
    labels, expected = labels_of(record), tensor(energies_to())
    check_spectra(labels, [expected[name] for name in DIAGONAL])
    assert labels.broadening == pytest.approx(0.1) and not labels.has_drude
    assert record.metadata["functional"] == "PBE"


def test_elk_adds_the_drude_term_which_is_subtracted(tmp_path: Path) -> None:
    write_elk(tmp_path, plasma=9.0)
    labels, expected = labels_of(read(tmp_path)), tensor(energies_to())
    check_spectra(labels, [expected[name] for name in DIAGONAL], tolerance=1e-5)
    np.testing.assert_allclose(labels.drude, 9.0)


def test_elk_component_and_its_transpose_are_averaged(tmp_path: Path) -> None:
    write_elk(tmp_path, components=("11", "22", "33", "12", "21", "13", "23"))
    labels, expected = labels_of(read(tmp_path)), tensor(energies_to())
    check_spectra(labels, [expected[name] for name in ("xx", "yy", "zz", "yz", "xz", "xy")])


def test_yambo_writes_the_imaginary_part_first(tmp_path: Path) -> None:
    write_yambo(tmp_path)
    labels = labels_of(read(tmp_path))
    check_spectra(labels, [response(energies_to())] * 3)
    assert labels.broadening == 0.1 and not labels.has_drude


def test_yambo_5_states_the_direction_before_its_label(tmp_path: Path) -> None:
    write_yambo(tmp_path)
    path = tmp_path / "o-RPA.eps_q1_inv_rpa_dyson"
    text = path.read_text().replace(
        "Q(1) [q->0 direction] : 1.0 0.0 0.0", "Q(1):   1.0   0.0   0.0    [q->0 direction]"
    )
    titles = "E/ev[1]       EPS-Im[2]     EPS-Re[3]     EPSo-Im[4]    EPSo-Re[5]"
    assert titles in text and "[q->0 direction]\n" in text
    path.write_text(text.replace(titles, "E[1] [eV]    Im(eps)    Re(eps)    Im(eps_o)    Re(eps_o)"))
    path.with_name("o-RPA.eps_q10_inv_rpa_dyson").write_text("# of a finite q, which is not read\n")
    check_spectra(labels_of(read(tmp_path)), [response(energies_to())] * 3)


def test_yambo_mistakes(tmp_path: Path) -> None:
    write_yambo(tmp_path / "drude", drude=3.2)
    with pytest.raises(RecordError, match=r"Drude contribution of 3\.2"):
        read(tmp_path / "drude")
    write_yambo(tmp_path / "skew", direction="1.0 1.0 0.0")
    with pytest.raises(RecordError, match="along x, y or z"):
        read(tmp_path / "skew")
    write_yambo(tmp_path / "twice", job="one")
    write_yambo(tmp_path / "twice", job="two")
    with pytest.raises(RecordError, match="second calculation of direction x"):
        read(tmp_path / "twice")
    write_yambo(tmp_path / "bse")
    (tmp_path / "bse" / "o-RPA.eps_q1_inv_rpa_dyson").rename(tmp_path / "bse" / "o-RPA.eps_q1_diago_bse")
    with pytest.raises(RecordError, match="Bethe–Salpeter"):
        read(tmp_path / "bse")


def test_a_drude_term_inside_the_spectrum_is_noticed(tmp_path: Path) -> None:
    write_gpaw(tmp_path)
    energies = energies_to()[1:]
    eps = response(energies) - 81.0 / (energies**2 + 0.1j * energies)
    table = np.column_stack([energies, eps.real, eps.imag, eps.real, eps.imag])
    (tmp_path / "df.csv").write_text("\n".join(", ".join(f"{x:.6f}" for x in row) for row in table))
    with pytest.raises(RecordError, match="contains the Drude term"):
        read(tmp_path)


WRITERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "simple_ip.x": (write_simple_ip, "al.eps_inter_im.dat"),
    "epsilon.x": (write_epsilon_x, "epsi_al.dat"),
    "GPAW": (lambda folder: write_gpaw(folder, ("df_x.csv", "df_y.csv")), "df_y.csv"),
    "FHI-aims": (write_fhi_aims, "dielectric_function_Lorentzian_0.1000_y_z.out"),
    "exciting": (lambda folder: write_exciting(folder, ("11", "22")), "EPSILON_22.OUT"),
    "Elk": (write_elk, "EPSILON_22.OUT"),
    "Yambo": (write_yambo, "o-RPA.eps_q1_inv_rpa_dyson"),
}


DAMAGES = ("in a row", "in a number", "between rows", "empty")


@pytest.mark.parametrize(
    ("code", "damage"),  # that a single table ends early between two rows cannot be noticed
    [(code, damage) for code in WRITERS for damage in DAMAGES if (code, damage) != ("Yambo", "between rows")],
)
def test_damaged_files_are_one_line_with_the_file(code: str, damage: str, tmp_path: Path) -> None:
    write, name = WRITERS[code]
    write(tmp_path)
    path = tmp_path / name
    lines = path.read_text().splitlines()
    keep = len(lines) // 2 - 3
    if damage == "in a number":
        lines[keep] = lines[keep].replace(".", "?", 1)
    elif damage == "empty":
        lines = []
    else:
        last = lines[keep] if damage == "in a row" else ""
        lines = [*lines[:keep], last[: len(last) // 3]]
    path.write_text("\n".join(lines))
    with pytest.raises(RecordError) as caught:
        read(tmp_path)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert "truncated" in str(caught.value) or "copy" in str(caught.value)


def test_numbers_of_fortran() -> None:
    assert [number(text) for text in ("1.5D+01", "1.5d-2", "-2.0-101", "NaN", "Infinity")][:3] == [15.0, 0.015, -2e-101]
    with pytest.raises(ValueError, match="could not convert"):
        number("********")


def test_bravais_lattices_of_pw_have_the_volumes_of_their_cells(tmp_path: Path) -> None:
    a, c = 7.65 * 0.529177210903, 1.3
    volumes = {1: 1, 2: 1 / 4, 3: 1 / 2, -3: 1 / 2, 4: c * 3**0.5 / 2, 6: c, 7: c / 2, 8: 1.1 * c}
    path = write_pw_input(tmp_path)
    for ibrav, volume in volumes.items():
        text = write_pw_input(tmp_path, ibrav=ibrav).read_text()
        path.write_text(text.replace("nat = 1", f"nat = 1, celldm(2)=1.1, celldm(3) = {c}"))
        atoms = read_pw_input(path)
        assert atoms is not None
        assert np.linalg.det(atoms.lattice) == pytest.approx(volume * a**3), ibrav
    path.write_text(write_pw_input(tmp_path, ibrav=5).read_text().replace("nat = 1", "nat = 1, celldm(4) = 0.3"))
    atoms = read_pw_input(path)
    assert atoms is not None
    metric = atoms.lattice @ atoms.lattice.T / a**2
    np.testing.assert_allclose(metric, 0.7 * np.eye(3) + 0.3, atol=1e-12)
    write_pw_input(tmp_path, ibrav=14)
    with pytest.raises(RecordError, match=r"ibrav 14.*ibrav 0"):
        read_pw_input(path)


def test_pw_input_in_angstrom_and_alat(tmp_path: Path) -> None:
    path = tmp_path / "two.in"
    path.write_text(
        "&system\n ibrav=0, A = 3.0, nat=2, ntyp=2 /\nCELL_PARAMETERS (alat)\n1 0 0\n0 1 0\n0 0 1.2\n"
        "ATOMIC_SPECIES\nNi 58 a\nAl 27 b\nATOMIC_POSITIONS alat\nNi_up 0 0 0 0 0 0\nAl 0.5 0.5 0.6 1 1 1\n"
        "K_POINTS gamma\n"
    )
    atoms = read_pw_input(path)
    assert atoms is not None
    np.testing.assert_allclose(atoms.lattice, np.diag([3.0, 3.0, 3.6]))
    np.testing.assert_array_equal(atoms.numbers, [28, 13])
    np.testing.assert_allclose(atoms.positions[1], [1.5, 1.5, 1.8])


def test_geometries_of_aims_and_elk(tmp_path: Path) -> None:
    path = tmp_path / "geometry.in"
    path.write_text("lattice_vector 3 0 0\nlattice_vector 0 3 0\natom 0 0 0 Al\n")
    with pytest.raises(RecordError, match="2 lattice vectors"):
        read_geometry(path)
    path.write_text("lattice_vector 3 0 0\nlattice_vector 0 x 0\natom 0 0 0 Al\n")
    with pytest.raises(RecordError, match="lattice_vector 0 x 0"):
        read_geometry(path)
    elk = tmp_path / "elk.in"
    elk.write_text(
        "avec\n 1 0 0\n 0 1 0\n 0 0 1\n\nscale\n 5.0\n\nscale3\n 2.0\n\natoms\n 1\n 'Cu.in'\n 2\n 0 0 0\n 0.5 0.5 0.5\n"
    )
    atoms = read_elk_geometry(elk)
    assert atoms is not None
    np.testing.assert_allclose(atoms.lattice, 5 * 0.529177210903 * np.diag([1, 1, 2]))
    np.testing.assert_array_equal(atoms.numbers, [29, 29])


def test_the_structure_is_searched_beside_the_spectrum(tmp_path: Path) -> None:
    write_simple_ip(tmp_path)
    scf = tmp_path / "al.scf.in"
    (tmp_path / "nscf.in").write_text(scf.read_text().replace("7.65", "7.80"))
    with pytest.raises(RecordError, match=r"differs from that of al\.scf\.in"):
        read(tmp_path)
    (tmp_path / "nscf.in").unlink()
    scf.unlink()
    with pytest.raises(RecordError, match=r"no structure is in the folder.*POSCAR"):
        read(tmp_path)
    poscar(tmp_path)
    np.testing.assert_allclose(read(tmp_path).lattice, 4.05 * FCC)
    assert not any("CIF" in remark for remark in read(tmp_path).metadata["remarks"])
    (tmp_path / "POSCAR").unlink()
    shutil.copy(Path(__file__).parents[3] / "docs" / "crystals" / "fcc_silver.cif", tmp_path)
    record = read(tmp_path)
    assert record.formula == "Ag" and any("CIF" in remark for remark in record.metadata["remarks"])
