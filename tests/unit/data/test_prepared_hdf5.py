"""The prepared HDF5 files, written here by independent code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dielectric_gnn.data.sources import PreparedHDF5
from dielectric_gnn.utils.errors import InputError, RecordError

ENERGIES = np.linspace(0, 20, 2001)
SPLIT = {"train": ["agm3", "agm1"], "val": ["agm2"], "test": ["agm4"]}


def material(name: str, drude: float = 4.0) -> dict[str, Any]:
    """The datasets of one group as the published files have them: brass in the CsCl structure."""
    return {
        "mat_id": np.bytes_(name),
        "composition": np.bytes_("ZnCu"),
        "e_above_hull": 0.0125,
        "lattice": np.diag([3.0, 3.0, 3.1]).astype(np.float32),
        "atomic_number": np.array([29, 30], dtype=np.uint16),
        "position": np.array([[0, 0, 0], [1.5, 1.5, 1.55]], dtype=np.float32),
        "drude": np.float32(drude),
        "eps": ((2 + 3j * ENERGIES) / (1 + ENERGIES**2)).astype(np.complex64),
    }


def write(folder: Path, change: Callable[[dict[str, Any]], None] = lambda values: None) -> Path:
    """The three files; `change` edits the datasets of agm2, the only material of val.h5."""
    for name, ids in SPLIT.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for material_id in ids:
                values = material(material_id)
                if material_id == "agm2":
                    change(values)
                for key, value in values.items():
                    file[f"{material_id}/{key}"] = value
    return folder


def test_values_and_published_split(tmp_path: Path) -> None:
    source = PreparedHDF5(str(write(tmp_path)))
    records = list(source.records())
    assert [record.material_id for record in records] == ["agm1", "agm3", "agm2", "agm4"]
    assert {name: sorted(ids) for name, ids in source.split().items()} == {k: sorted(v) for k, v in SPLIT.items()}
    assert source.size() == 4
    record = records[0]
    assert record.formula == "ZnCu" and record.metadata == {"composition": "ZnCu", "e_above_hull": 0.0125}
    np.testing.assert_allclose(record.positions[1], [1.5, 1.5, 1.55], rtol=1e-6)
    assert record.labels is not None and record.labels.broadening == 0.1
    eps, drude = record.labels.average()
    np.testing.assert_array_equal(eps, ((2 + 3j * ENERGIES) / (1 + ENERGIES**2)).astype(np.complex64))
    assert drude == 4.0


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda values: values.__setitem__(key, value)


BAD = {
    "no eps": (lambda values: values.pop("eps"), "dataset 'eps' is missing"),
    "no lattice": (lambda values: values.pop("lattice"), "dataset 'lattice' is missing"),
    "other id": (put("mat_id", np.bytes_("agm9")), "mat_id is 'agm9', expected the name of the group"),
    "short": (put("eps", np.zeros(2000, dtype=np.complex64)), "(1, 2000)"),
    "axes": (put("eps", np.zeros((2001, 3), dtype=np.complex64)), "eps is complex64 of shape (2001, 3)"),
    "real": (put("eps", np.zeros(2001, dtype=np.float32)), "expected complex numbers"),
    "nan": (put("eps", np.full(2001, np.nan, dtype=np.complex64)), "2001 NaN or infinite values"),
    "infinite drude": (put("drude", np.float32(np.inf)), "drude_freq is [inf]"),
    "drude axes": (put("drude", np.zeros(3, dtype=np.float32)), "drude is float32 of shape (3,)"),
    "atoms": (put("atomic_number", np.array([29.0, 30.0])), "expected integer numbers"),
    "positions": (put("position", np.zeros((3, 3), dtype=np.float32)), "positions of shape (3, 3)"),
    "text": (put("drude", np.bytes_("four")), "expected real numbers"),
    "subgroup": (put("eps/inner", 1.0), "the group cannot be read"),
    "hull": (put("e_above_hull", np.zeros(2)), "e_above_hull is float64 of shape (2,)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_material_is_named_with_its_file_and_can_be_skipped(tmp_path: Path, case: str) -> None:
    change, message = BAD[case]

    def without_eps(values: dict[str, Any]) -> None:
        if case == "subgroup":
            del values["eps"]
        change(values)

    source = PreparedHDF5(str(write(tmp_path, without_eps)))
    with pytest.raises(RecordError) as caught:
        list(source.records())
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'val.h5'}:agm2") and message in text and "\n" not in text
    assert [record.material_id for record in source.records("skip")] == ["agm1", "agm3", "agm4"]
    assert [error.source.split(" ")[0] for error in source.rejects] == [f"{tmp_path / 'val.h5'}:agm2"]


def test_a_dataset_and_a_dangling_link_in_place_of_a_group(tmp_path: Path) -> None:
    write(tmp_path)
    with h5py.File(tmp_path / "test.h5", "a") as file:
        file["number"] = 1.0
        file["nowhere"] = h5py.SoftLink("/absent")
    source = PreparedHDF5(str(tmp_path))
    assert len(list(source.records("skip"))) == 4
    assert [error.source for error in source.rejects] == [f"{tmp_path / 'test.h5'}:{n}" for n in ("nowhere", "number")]


def test_one_material_in_two_files(tmp_path: Path) -> None:
    write(tmp_path)
    with h5py.File(tmp_path / "test.h5", "a") as file:
        for key, value in material("agm1").items():
            file[f"agm1/{key}"] = value
    with pytest.raises(RecordError, match=r"test\.h5:agm1: material id 'agm1' was read from .*train\.h5:agm1 already"):
        list(PreparedHDF5(str(tmp_path)).records())


def test_absent_and_corrupt_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        list(PreparedHDF5(str(tmp_path / "nowhere")).records())
    write(tmp_path)
    path = tmp_path / "test.h5"
    content = path.read_bytes()
    for broken in (b"", b"not HDF5 at all", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"test\.h5: not a readable HDF5 file, truncated\?"):
            list(PreparedHDF5(str(tmp_path)).records("skip"))
    path.unlink()
    with pytest.raises(InputError, match=r"test\.h5: no such file; the folder needs train\.h5, val\.h5, test\.h5"):
        list(PreparedHDF5(str(tmp_path)).records())


def test_damaged_bytes_inside_a_file_are_reported_or_skipped(tmp_path: Path) -> None:
    """Wherever a block is overwritten, the reader ends with an InputError, a rejected material, or sound values."""
    write(tmp_path)
    path = tmp_path / "train.h5"
    content = path.read_bytes()
    for start in range(0, len(content), 997):
        path.write_bytes(content[:start] + b"\xff" * 64 + content[start + 64 :])
        source = PreparedHDF5(str(tmp_path))
        try:
            records = list(source.records("skip"))
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert all(np.isfinite(record.labels.eps_inter).all() for record in records if record.labels)
