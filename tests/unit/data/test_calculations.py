"""The source of calculations: what is found, names, Drude tables, errors, parallel building."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.label_options import LabelOptions, read_records
from dielectric_gnn.data.sources import Calculations
from dielectric_gnn.data.sources.calculations.drude_table import read_drude_table
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.calculation_files import write_elk, write_exciting, write_gpaw, write_simple_ip, write_vasp, write_yambo

SQUARES = np.diag([81.0, 64.0, 49.0])


def test_calculations_are_recognised_by_content_and_named_by_path(tmp_path: Path) -> None:
    write_vasp(tmp_path / "exciting" / "a")  # names of folders do not count
    (tmp_path / "exciting" / "a" / "vasprun.xml").rename(tmp_path / "exciting" / "a" / "renamed.xml")
    write_simple_ip(tmp_path / "b" / "c")
    write_elk(tmp_path / "elk")
    write_exciting(tmp_path / "vasp")  # same file names as Elk
    write_yambo(tmp_path / "y")
    write_gpaw(tmp_path / "g", ("mine_x.csv",))
    (tmp_path / "g" / "notes.csv").write_text("mat_id, drude\nAl, 3\n")
    (tmp_path / ".hidden").mkdir()
    write_vasp(tmp_path / ".hidden")
    codes = {record.material_id: record.metadata["code"] for record in Calculations(str(tmp_path)).records()}
    expected = {"b/c": "simple_ip.x", "elk": "Elk", "exciting/a": "VASP", "g": "GPAW", "vasp": "exciting", "y": "Yambo"}
    assert codes == expected


def test_several_calculations_in_a_folder_are_named_by_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_vasp(tmp_path / "runs").rename(tmp_path / "runs" / f"{name}.xml")
    assert [record.material_id for record in Calculations(str(tmp_path)).records()] == ["runs/one", "runs/two"]
    assert [record.material_id for record in Calculations(str(tmp_path / "runs" / "two.xml")).records()] == ["two"]
    write_vasp(tmp_path / "alone")
    assert [record.material_id for record in Calculations(str(tmp_path / "alone")).records()] == ["alone"]


def test_names_with_labels_after_the_format_stay_different(tmp_path: Path) -> None:
    for name in ("JVASP-1", "JVASP-2"):
        write_vasp(tmp_path / "runs").rename(tmp_path / "runs" / f"vasprun.xml.{name}")
    ids = [record.material_id for record in Calculations(str(tmp_path / "runs")).records()]
    assert ids == ["vasprun.xml.JVASP-1", "vasprun.xml.JVASP-2"]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        next(Calculations(str(tmp_path / "missing")).records())
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"no calculation of VASP, simple_ip.*vasprun"):
        next(Calculations(str(tmp_path)).records())


def test_bad_calculations_stop_or_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_vasp(tmp_path / name)
    bad = tmp_path / "b" / "vasprun.xml"
    bad.write_text("")
    source = Calculations(str(tmp_path))
    with pytest.raises(RecordError, match="does not begin as one"):
        list(source.records())
    assert [record.material_id for record in source.records("skip")] == ["a", "c"]
    assert [error.source for error in source.rejects] == [str(bad)] and source.size() == 3


def write_table(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_drude_frequencies_from_a_table(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_yambo(runs / "a")
    write_yambo(runs / "b")
    write_simple_ip(runs / "c")
    table = write_table(tmp_path / "d.csv", "mat_id, drude_x, drude_y, drude_z\na, 9, 8, 7\nb,,,\nc, 1, 1, 1\n")
    records = {record.material_id: record for record in Calculations(str(runs), drude_csv=table).records()}
    drude = {name: record.labels.drude for name, record in records.items() if record.labels is not None}
    np.testing.assert_array_equal(drude["a"], [9, 8, 7])
    assert np.isnan(drude["b"]).all()
    np.testing.assert_array_equal(drude["c"], [1, 1, 1])
    assert any("replaced" in remark for remark in records["c"].metadata["remarks"])


def test_drude_tensors_from_a_table(tmp_path: Path) -> None:
    write_vasp(tmp_path / "runs" / "a")
    header = "mat_id,drude_x,drude_y,drude_z,drude_yz,drude_xz,drude_xy"
    table = write_table(tmp_path / "d.csv", f"{header}\na,9,8,7,0.1,0.2,0.3\n")
    labels = next(Calculations(str(tmp_path / "runs"), drude_csv=table).records()).labels
    assert labels is not None
    np.testing.assert_array_equal(labels.drude, [9, 8, 7, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mat_id,drude_x\na,1\n", "column drude_y is missing"),
        ("mat_id,drude_x,drude_y,drude_z,drude_xy\na,1,1,1,0\n", "column drude_yz is missing"),
        ("mat_id,drude_x,drude_y,drude_z\na,1,1,x\n", "row 1"),
        ("mat_id,drude_x,drude_y,drude_z\na,1,1\n", "row 1"),
        ("mat_id,drude_x,drude_y,drude_z\na,1,1,-1\n", "0 to 1000 eV"),
        ("mat_id,drude_x,drude_y,drude_z\na,1,1,nan\n", "0 to 1000 eV"),
        ("mat_id,drude_x,drude_y,drude_z\na,1,1,1\na,2,2,2\n", "row 2 repeats"),
        ("mat_id,drude_x,drude_y,drude_z\n,1,1,1\n", "no mat_id"),
        ("", "column mat_id is missing"),
    ],
)
def test_bad_drude_tables(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_drude_table(write_table(tmp_path / "d.csv", text))


@pytest.mark.parametrize("tensors", [False, True])
def test_stores_hold_nan_where_there_is_no_drude_frequency(tmp_path: Path, tensors: bool) -> None:
    write_yambo(tmp_path / "runs" / "a")
    records = read_records(Calculations(str(tmp_path / "runs")), "raise", LabelOptions(tensors=tensors))
    store = CrystalStore.from_records(records, 5.5, tensors=tensors)
    assert store.drude is not None and np.isnan(store.drude).all()
    assert store.eps_inter is not None and np.isfinite(store.eps_inter).all()


def test_pieces_of_work_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    write_vasp(tmp_path / "a", squares=SQUARES)
    write_simple_ip(tmp_path / "b")
    source = Calculations(str(tmp_path))
    tasks = pickle.loads(pickle.dumps(source.tasks()))
    assert [tasks.read(item).material_id for item in tasks.items] == ["a", "b"]
    assert source.tasks().fingerprint == Calculations(str(tmp_path)).tasks().fingerprint
    assert source.tasks().fingerprint != Calculations(str(tmp_path), vasp_response="velocity").tasks().fingerprint
    before = source.tasks().fingerprint
    (tmp_path / "a" / "OUTCAR").write_text("changed")
    assert source.tasks().fingerprint != before


def test_stores_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for symbol in ("Al", "Cu", "Ag", "Au", "Ni", "Pd"):
        write_vasp(tmp_path / "runs" / symbol, symbol, squares=SQUARES)
    folders = [tmp_path / "one", tmp_path / "two"]
    for workers, folder in enumerate(folders, start=1):
        options = BuildOptions(workers=workers, split="seeded")
        assert build_store(Calculations(str(tmp_path / "runs")), folder, options, "test") == []
    for file in folders[0].glob("*.npy"):
        assert file.read_bytes() == (folders[1] / file.name).read_bytes(), file.name
