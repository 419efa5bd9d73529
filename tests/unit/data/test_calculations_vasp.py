"""VASP: real files of pymatgen's tests, and small files of the same layout."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources import Calculations
from dielectric_gnn.data.sources.calculations import vasp
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.calculation_files import FCC, energies_to, tensor, write_outcar, write_vasp

REAL = Path(__file__).parents[2] / "data" / "code_outputs"
SQUARES = np.array([[81.0, 2.0, 0.0], [2.0, 64.0, 1.0], [0.0, 1.0, 49.0]])


def read(path: Path, **options: object) -> CrystalRecord:
    return next(Calculations(str(path), **options).records())  # type: ignore[arg-type]


def labels_of(record: CrystalRecord) -> OpticalLabels:
    assert record.labels is not None
    return record.labels


# Rows of the files: energy, then xx yy zz xy yz zx of the real and the imaginary part.
ROWS = {
    ("vasprun.dielectric_6.0.8.xml.gz", 10): (
        (0.4338, 5.0547, 3.8845, 5.7358, 0.0, 0.0, 1.2646),
        (0.4338, 0.0355, 0.0085, 0.0639, 0.0, 0.0, 0.0330),
    ),
    ("vasprun.dielectric_6.0.8.xml.gz", 50): (
        (2.1691, 5.3843, 4.3118, 4.2032, 0.0, 0.0, 0.5927),
        (2.1691, 2.5947, 0.3693, 4.0915, 0.0, 0.0, 2.4551),
    ),
    ("vasprun.dielectric_5.4.4.xml.gz", 100): (
        (2.8595, 3.6650, 2.5015, 2.3744, 0.1539, -0.0044, 0.0429),
        (2.8595, 1.6221, 0.1017, 0.2267, 0.1400, -0.0034, -0.0160),
    ),
}


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_real_files_keep_the_values_of_their_rows(name: str, row: int) -> None:
    labels = labels_of(read(REAL / name))
    real, imaginary = (np.array(part) for part in ROWS[name, row])
    assert labels.grid.energies()[row] == pytest.approx(real[0], abs=2e-3)
    expected = (real + 1j * imaginary)[1:][[0, 1, 2, 4, 5, 3]]  # VASP writes xy yz zx, labels have yz xz xy
    np.testing.assert_allclose(labels.eps_inter[:, row], expected, atol=5e-5)


def test_real_files_state_functional_broadening_and_structure() -> None:
    records = {record.material_id: record for record in Calculations(str(REAL)).records()}
    assert set(records) == {"vasprun.dielectric_5.4.4", "vasprun.dielectric_6.0.8"}
    hybrid = records["vasprun.dielectric_6.0.8"]
    assert hybrid.formula == "Li6Bi2O7" and hybrid.metadata["functional"] == "HSE06"
    assert labels_of(hybrid).broadening == 0.1 and not labels_of(hybrid).has_drude
    np.testing.assert_allclose(hybrid.lattice[2], [-1.94241631, 0.0, 10.08266628])


def test_the_plasma_tensor_of_a_real_outcar_is_the_intraband_one() -> None:
    silicon = Atoms(2.715 * np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]), np.array([14, 14]), np.zeros((2, 3)))
    tensor_ = vasp._plasma_tensor(REAL, silicon, 100.0)
    np.testing.assert_array_equal(tensor_, np.zeros((3, 3)))  # interband would be 240.696 eV²
    assert vasp._plasma_tensor(REAL, silicon._replace(lattice=np.eye(3) * 5), 100.0) is None


def test_whole_tensors_with_the_root_of_the_plasma_tensor(tmp_path: Path) -> None:
    write_vasp(tmp_path, squares=SQUARES)
    record = read(tmp_path)
    labels = labels_of(record)
    np.testing.assert_array_equal(record.lattice, 4.05 * FCC)
    expected = tensor(energies_to())
    for place, name in enumerate(("xx", "yy", "zz", "yz", "xz", "xy")):
        np.testing.assert_allclose(labels.eps_inter[place, [0, 40, 90]], expected[name][[0, 40, 90]], atol=1e-6)
    xx, yy, zz, yz, xz, xy = labels.drude
    root = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    np.testing.assert_allclose(root @ root, SQUARES, atol=1e-9)
    assert labels.average()[1] == pytest.approx(np.sqrt((81 + 64 + 49) / 3))  # eV, from eV²
    assert record.metadata["functional"] == "PBE"


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_files(suffix: str, compress: object, tmp_path: Path) -> None:
    path = write_vasp(tmp_path / "run")
    path.with_name(path.name + suffix).write_bytes(compress(path.read_bytes()))  # type: ignore[operator]
    path.unlink()
    assert read(tmp_path).material_id == "run"


def test_velocity_is_the_second_response(tmp_path: Path) -> None:
    write_vasp(tmp_path)
    density, velocity = (labels_of(read(tmp_path, vasp_response=name)).eps_inter for name in ("density", "velocity"))
    np.testing.assert_allclose(velocity, 2 * density, atol=2e-6)  # the file has six decimals
    write_vasp(tmp_path, labels=("density-density",))
    with pytest.raises(RecordError, match=r"velocity.*vasp_response"):
        read(tmp_path, vasp_response="velocity")


def test_an_outcar_of_another_lattice_is_not_used(tmp_path: Path) -> None:
    write_vasp(tmp_path)
    write_outcar(tmp_path, SQUARES, lattice=5 * FCC)
    record = read(tmp_path)
    assert not labels_of(record).has_drude and "OUTCAR" in record.metadata["remarks"][0]


def test_a_label_without_drude_frequency_is_resolved_as_a_tensor(tmp_path: Path) -> None:
    record = read(write_vasp(tmp_path).parent)
    average, drude = labels_of(record).average()
    assert np.isnan(drude) and np.isfinite(average).all()
    resolved = with_full_tensors(read(REAL / "vasprun.dielectric_6.0.8.xml.gz"))
    assert labels_of(resolved).drude.shape == (6,) and np.isnan(labels_of(resolved).drude).all()


def cut(text: str) -> str:
    return text[: len(text) * 2 // 3]


DAMAGE = {
    "truncated": (cut, "not a complete vasprun.xml"),
    "corrupt": (lambda text: text.replace("</set>", "<set", 1), "not a complete vasprun.xml"),
    "not a number": (
        lambda text: text.replace("0.125000", "     NaN"),
        "NaN or infinite",
    ),
    "overflow": (lambda text: text.replace("    0.000000", "************", 2), "NaN or infinite|complete"),
    "no LOPTICS": (
        lambda text: text.replace("dielectricfunction", "other"),
        r"no frequency-dependent.*LOPTICS = \.TRUE",
    ),
    "entities": (
        lambda text: text.replace("<modeling>", '<!DOCTYPE m [<!ENTITY a "b">]>\n<modeling>', 1),
        "entities",
    ),
    "hidden encoding": (lambda text: text.replace("ISO-8859-1", "UTF-7", 1), "encoding"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_mistakes_are_one_line_with_the_file(kind: str, tmp_path: Path) -> None:
    path = write_vasp(tmp_path)
    change, message = DAMAGE[kind]
    path.write_text(change(path.read_text()))
    with pytest.raises(RecordError, match=message) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut_at", [0.1, 0.5, 0.9])
def test_truncated_real_files(cut_at: float, tmp_path: Path) -> None:
    content = (REAL / "vasprun.dielectric_6.0.8.xml.gz").read_bytes()
    path = tmp_path / "vasprun.xml.gz"
    path.write_bytes(content[: int(len(content) * cut_at)])
    with pytest.raises(RecordError, match="truncated") as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(path))


def test_another_functional_is_refused_if_one_is_required(tmp_path: Path) -> None:
    write_vasp(tmp_path, GGA="PS")
    with pytest.raises(RecordError, match=r"functional.*PBEsol, expected PBE;"):
        read(tmp_path, functional="PBE")
    assert read(tmp_path, functional="pbesol").metadata["functional"] == "PBEsol"


def test_a_bethe_salpeter_spectrum_is_refused(tmp_path: Path) -> None:
    write_vasp(tmp_path, labels=(None,), ALGO="Bse")
    with pytest.raises(RecordError, match=r"beyond independent particles.*LOPTICS"):
        read(tmp_path)


def test_spectra_are_resampled_onto_a_grid_that_they_cover(tmp_path: Path) -> None:
    uneven = energies_to() ** 2 / 10.0
    write_vasp(tmp_path, energies=uneven)
    with pytest.raises(RecordError, match="not evenly spaced; give a grid"):
        read(tmp_path)
    record = read(tmp_path, grid=EnergyGrid(0.0, 8.0, 401))
    labels = labels_of(record)
    assert labels.grid == EnergyGrid(0.0, 8.0, 401) and 0 < record.metadata["resampling_error"] < 0.05
    exact = tensor(labels.grid.energies())["xx"]
    assert abs(labels.eps_inter[0, [50, 300]] - exact[[50, 300]]).max() < 0.02 * abs(exact).max()
    with pytest.raises(RecordError, match="cover 0 to 10 eV"):
        read(tmp_path, grid=EnergyGrid())


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="vasp_response"):
        Calculations("somewhere", vasp_response="length")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="broadening_ev"):
        Calculations("somewhere", broadening_ev=-1.0)
