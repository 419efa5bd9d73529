"""Values that no material has, in every format: each is one reject with a line that names it, and nothing warns."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, RecordSource, StructureFiles, SyntheticMetals
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.unit.data.test_sources import entry

Change = Callable[[dict[str, Any]], Any]


def site(key: str, value: Any) -> Change:
    return lambda content: content["structure"]["sites"][0].update({key: value})


def species(value: Any) -> Change:
    return site("species", value)


def lattice(value: float) -> Change:
    return lambda content: content["structure"]["lattice"]["matrix"][1].__setitem__(1, value)


def table(key: str, value: Any) -> Change:
    return lambda content: content["data"][key][7].__setitem__(2, value)


def datum(key: str, value: Any) -> Change:
    return lambda content: content["data"].update({key: value})


NAN, INF = float("nan"), float("inf")
ENTRIES: dict[str, Change] = {
    **{f"occupancy {x}": species([{"element": "Cu", "occu": x}]) for x in (NAN, INF, 1e300, -1, 0, 0.5, None, "x", [])},
    **{
        f"element {str(x)[:9]}": species([{"element": x, "occu": 1}])
        for x in ("Xx", "", "X" * 10**5, None, 29, ["Cu"], "Og", "nan")
    },
    "no species": species([]),
    "species no list": species(5),
    **{f"coordinate {x}": site("abc", [x, 0, 0]) for x in (NAN, INF, 1e300, -1e300, 1e12, None, "x", [1], {})},
    "two coordinates": site("abc", [0, 0]),
    **{f"lattice {x}": lattice(x) for x in (NAN, INF, 1e300, 1e9, 1e-300, 0, None, "x", 0.01)},
    **{f"eps {x}": table("eps_inter_im", x) for x in (NAN, INF, -INF, 1e300, 1e38, 1e7, -1e300, None, "x")},
    **{f"real eps {x}": table("eps_inter_re", x) for x in (NAN, INF, 1e300, -1e300, 1e7)},
    "no Drude frequency": datum("drude_freq", [NAN, NAN, NAN]),
    **{f"drude {x}": datum("drude_freq", [x, 1, 1]) for x in (NAN, INF, 1e300, 1e39, 1e5, -1, None, "x")},
    **{
        f"broadening {x}": lambda content, x=x: content["parameters"].update(broadening_ev=x)
        for x in (NAN, INF, 1e300, 0, -1, "x", True)
    },
    "parameters a list": lambda e: e.update(parameters=[1]),
    "energy column": lambda e: e["data"]["eps_inter_re"][5].__setitem__(0, 1e300),
    "pbc": lambda e: e["structure"]["lattice"].update(pbc=[True, True, 0]),
}


@pytest.mark.parametrize("change", ENTRIES.values(), ids=ENTRIES)
def test_absurd_entries_are_rejects(change: Change, tmp_path: Path) -> None:
    content = entry("bad", monty=False)
    change(content)
    (tmp_path / "bad.json").write_text(json.dumps(content))
    refused(EntryJson(str(tmp_path)))


def refused(source: RecordSource) -> None:
    """Nothing is read, and one line says why."""
    assert list(source.records("skip")) == []
    (reject,) = source.rejects
    assert reject.problem and "\n" not in str(reject) and len(str(reject)) < 800


POSCAR = "x\n{scale}\n{a} 0 0\n0 4 0\n0 0 4\n{symbol}\n{count}\nDirect\n{x} 0 0\n"
USUAL = {"scale": "1.0", "a": "4", "symbol": "Ag", "count": "1", "x": "0"}
POSCARS = [
    *({"scale": x} for x in ("1e300", "-1e300", "1e-300", "nan", "0", "inf", "1e999", "1d400")),
    *({"a": x} for x in ("1e300", "1e999", "0", "1e-300", "nan", "0.01")),
    *({"symbol": x} for x in ("Og", "Xx", "nan", "1e5")),
    *({"count": x} for x in ("0", "2", "1000000000", "9" * 5000, "-1", "1e5", "nan")),
    *({"x": x} for x in ("1e300", "1e999", "nan", "1e12", "x")),
]


@pytest.mark.parametrize("values", POSCARS, ids=lambda values: "-".join(*values.items())[:40])
def test_absurd_poscars_are_rejects(values: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.vasp").write_text(POSCAR.format(**USUAL | values))
    refused(StructureFiles([str(tmp_path)]))


CIF = """data_x
_cell_length_a {a}
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha {alpha}
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ag1 {symbol} {occupancy} {x} 0 0
"""
CIF_USUAL = {"a": "4", "alpha": "90", "symbol": "Ag", "occupancy": "1", "x": "0"}
CIFS = [
    *({"a": x} for x in ("1e300", "1e999", "1e9", "2000", "0", "nan", "-4", "1e-300", "0.01")),
    *({"alpha": x} for x in ("0", "180", "1e300", "nan", "1e-12", "179.9999999999")),
    *({"occupancy": x} for x in ("nan", "1e300", "1e999", "-1", "0", "0.5", "?")),
    *({"x": x} for x in ("1e300", "1e999", "nan", "1e12", "?")),
    *({"symbol": x} for x in ("Og", "Xx", "nan", "X" * 10000)),
]


@pytest.mark.parametrize("values", CIFS, ids=lambda values: "-".join(*values.items())[:40])
def test_absurd_cifs_are_rejects(values: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.cif").write_text(CIF.format(**CIF_USUAL | values))
    refused(StructureFiles([str(tmp_path)]))


def test_the_usual_values_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(CIF.format(**CIF_USUAL))
    (tmp_path / "b.vasp").write_text(POSCAR.format(**USUAL))
    (tmp_path / "c.json").write_text(json.dumps(entry()))
    assert len(list(StructureFiles([str(tmp_path)]).records())) == 3


HDF5: dict[str, tuple[str, Any]] = {
    **{f"lattice {x}": ("lattice", np.diag([4, x, 4]).astype(np.float32)) for x in (NAN, INF, 1e38, 1e8, 0.0)},
    **{f"number {x}": ("atomic_number", np.array([x], np.uint64)) for x in (0, 84, 2**63, 2**64 - 1)},
    **{f"position {x}": ("position", np.array([[x, 0, 0]], np.float32)) for x in (NAN, INF, 1e38)},
    **{f"drude {x}": ("drude", np.float32(x)) for x in (NAN, INF, 1e38, -1)},
    **{f"eps {x}": ("eps", np.full(2001, x, np.complex64)) for x in (NAN, INF, 1e38 + 1e38j)},
}


@pytest.mark.parametrize("change", HDF5.values(), ids=HDF5)
def test_absurd_groups_are_rejects(change: tuple[str, Any], tmp_path: Path) -> None:
    import h5py

    values: dict[str, Any] = {
        "mat_id": b"bad",
        "lattice": 4 * np.eye(3, dtype=np.float32),
        "atomic_number": np.array([47], dtype=np.uint16),
        "position": np.zeros((1, 3), dtype=np.float32),
        "drude": np.float32(3),
        "eps": np.ones(2001, dtype=np.complex64),
    }
    for name in ("train", "val", "test"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            if name == "train":
                group = file.create_group("bad")
                for key, value in (values | dict([change])).items():
                    group[key] = value
    refused(PreparedHDF5(str(tmp_path)))


@pytest.mark.parametrize("broadening", [1e300, 50.0])
def test_absurd_options_of_synthetic_crystals(broadening: float) -> None:
    with pytest.raises((InputError, RecordError), match="broadening"):
        list(SyntheticMetals(2, broadening_ev=broadening).records())
