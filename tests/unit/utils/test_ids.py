"""Ids and names: what is refused where it is read, and what is allowed and then survives every file and figure."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from dielectric_gnn.data.datamodule import TRAIN_IDS
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, StructureFiles
from dielectric_gnn.data.splits import read_ids
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.optics.plots import comparison_figure, response_figure, tensor_figure
from dielectric_gnn.optics.spectrum import Spectrum, TensorSpectrum
from dielectric_gnn.prediction.files import write_material
from dielectric_gnn.prediction.page import prediction_page
from dielectric_gnn.prediction.summary import RANKABLE, write_summary
from dielectric_gnn.scaling.table import read_csv
from dielectric_gnn.utils.csv_cells import csv_row, guard_cell, unguard_cell
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.files import file_stem, write_csv, write_text
from dielectric_gnn.utils.ids import MAX_ID_BYTES, id_problem
from tests.unit.data.test_sources import entry

SILVER = "x\n1.0\n4 0 0\n0 4 0\n0 0 4\nAg\n1\nDirect\n0 0 0\n"
REFUSED = {
    "newline": "a\nb",
    "return": "a\rb",
    "nul": "a\0",
    "escape": "a\x1b[31m",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "surrogate": "a\udce4",
    "empty": "",
    "blank": " \t ",
    "blank before": " a",
    "blank behind": "a\u3000",
    "long": "x" * (MAX_ID_BYTES + 1),
    "long in bytes": "é" * (MAX_ID_BYTES // 2 + 1),
}
ALLOWED = [
    "agm001003411", "fcc-Ag", "=1+1", "=cmd|' /C calc'!A0", "+x", "-x", "@SUM(A1)", "'=x", "''-x", "'x", "-1.5", "+5",
    "-inf", "a,b", 'a"b', "#a", "a;b", "$x$", r"\frac{1}{0}$x^$", "a\u3000b", "Ag (1)", "é", "日本", "<b>&amp;",
    "x" * MAX_ID_BYTES, "\uff1dx", "../../etc", "CON", "index", "rejects", "100%", "{0}", "$title",
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_no_file_can_hold_is_refused(value: str) -> None:
    with pytest.raises(RecordError) as caught:
        CrystalRecord(value, 4 * np.eye(3), np.array([47]), np.zeros((1, 3)))
    message = str(caught.value)
    assert "material id" in message and message.isascii() and message.isprintable() and len(message) < 300


@pytest.mark.parametrize("value", [None, 3, ["a"], {"a": 1}, b"a", True])
def test_what_is_no_text_is_refused(value: object) -> None:
    problem = id_problem(value)
    assert problem is not None and "as text" in problem


@pytest.mark.parametrize("value", ALLOWED)
def test_other_names_are_allowed(value: str) -> None:
    assert id_problem(value) is None
    assert len(os.fsencode(f".{file_stem(value)}_tensor.png.12345678.tmp")) <= 255


def test_entries_with_bad_ids_are_rejects(tmp_path: Path) -> None:
    for place, value in enumerate([*REFUSED.values(), None, 7, ["a"], {"b": 1}]):
        content = entry(monty=False)
        content["data"]["mat_id"] = value
        (tmp_path / f"{place}.json").write_text(json.dumps(content))
    (tmp_path / "good.json").write_text(json.dumps(entry("good")))
    source = EntryJson(str(tmp_path))
    assert [record.material_id for record in source.records("skip")] == ["good"]
    assert len(source.rejects) == len(REFUSED) + 4
    assert all("mat_id" in one.problem and one.problem.isprintable() for one in source.rejects)


def test_groups_with_bad_ids_are_rejects_and_no_two_become_one(tmp_path: Path) -> None:
    """NumPy drops zero characters at the end of a text; `a` and `a` with one would be twice the same id in a store."""
    import h5py

    for name in ("train", "val", "test"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for material_id in (name, f"{name}\n", f"{name}\x01"):
                group = file.create_group(material_id)
                group["mat_id"] = material_id.encode()
                group["lattice"] = 4 * np.eye(3, dtype=np.float32)
                group["atomic_number"] = np.array([47], dtype=np.uint16)
                group["position"] = np.zeros((1, 3), dtype=np.float32)
                group["drude"] = np.float32(3)
                group["eps"] = np.ones(2001, dtype=np.complex64)
    rejects = build_store(PreparedHDF5(str(tmp_path)), tmp_path / "store", BuildOptions(on_error="skip"), "test")
    store, split = open_store(tmp_path / "store")
    assert sorted(store.material_ids) == ["test", "train", "val"] and len(rejects) == 6
    assert {name: rows.size for name, rows in split.items()} == {"train": 1, "val": 1, "test": 1}


def test_files_with_odd_names(tmp_path: Path) -> None:
    names = ["a\nb.vasp", "c\x1b[2J.vasp", " d .vasp", "e" * 240 + ".vasp", "$f$.vasp", "=g.vasp"]
    for name in names:
        (tmp_path / name).write_text(SILVER)
    block = "data_{}\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
    block += "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
    block += "_atom_site_fract_y\n_atom_site_fract_z\nAg 0 0 0\n"
    (tmp_path / "h.cif").write_text(block.format("one") + block.format("t\x7fwo"))
    source = StructureFiles([str(tmp_path)])
    ids = [record.material_id for record in source.records("skip")]
    assert sorted(ids) == sorted(["d", "e" * 240, "$f$", "=g", "h-one"])
    assert len(source.rejects) == 3 and all("material id" in one.problem for one in source.rejects)


def test_tables_give_back_the_true_id(tmp_path: Path) -> None:
    path = tmp_path / "per_material.csv"
    write_csv(path, ["material_id", "loss"], ([name, "-0.5"] for name in [*ALLOWED, "a\rb", "a\r\nb"]), ["a\nnote"])
    text = path.read_bytes().decode()
    assert text.startswith("# a note\nmaterial_id,loss\n")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("# ")))
    assert [unguard_cell(row["material_id"]) for row in rows] == [*ALLOWED, "a\rb", "a\r\nb"]
    assert {row["loss"] for row in rows} == {"-0.5"}
    for row in rows:
        cell = row["material_id"]
        assert cell[0] not in "=+-@\t\r\uff1d" or cell in ("-1.5", "+5", "-inf")


@pytest.mark.parametrize("cell", ["=", "=1", "+1+1", "-x", "@a", "\tx", "\rx", "'=", "''@", "\uff0dx"])
def test_guarded_cells_are_texts_for_spreadsheets(cell: str) -> None:
    assert guard_cell(cell) == f"'{cell}" and unguard_cell(guard_cell(cell)) == cell


@pytest.mark.parametrize("cell", ["-1", "+2.5e-3", "-.5", "-inf", "1", "a=b", "'a", "", "–"])
def test_numbers_and_other_texts_stay_as_they_are(cell: str) -> None:
    assert guard_cell(cell) == cell == unguard_cell(cell)


def test_rows_equal_those_of_the_standard_library() -> None:
    """But for guards, lone carriage returns and comments."""
    rows = [["a", 1, -2.5, None, ""], ["a,b", 'c"d', "e\nf"], [""], ["x"], ["", ""]]
    assert list(csv.reader("".join(map(csv_row, rows)).splitlines(keepends=True))) == [
        ["" if cell is None else str(cell) for cell in row] for row in rows
    ]


def test_lists_of_ids_give_back_the_true_id(tmp_path: Path) -> None:
    write_text(tmp_path / TRAIN_IDS, "\n".join(ALLOWED) + "\n")
    assert read_ids(tmp_path / TRAIN_IDS) == ALLOWED


def test_tables_of_runs_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "runs.csv", ["group", "loss"], [["=a", "0.5"], ["b", "-1"]])
    rows = read_csv(tmp_path / "runs.csv", ["group", "loss"]).rows
    assert [row.cells for row in rows] == [{"group": "=a", "loss": "0.5"}, {"group": "b", "loss": "-1"}]


ENERGIES = np.linspace(0, 20, 41)


@pytest.mark.parametrize("name", ["$Ag$", "a_$b", r"\frac{1}{0}$x^$", r"a\$b", "$" * 7, "100%", "日本"])
@pytest.mark.filterwarnings("ignore:Glyph")  # the font has none for Japanese
def test_a_dollar_sign_is_no_mathematics_in_any_figure(name: str, tmp_path: Path) -> None:
    tensor = TensorSpectrum(np.full((6, 41), 2 + 1j), np.full(6, 9.0))
    spectrum = Spectrum(ENERGIES, np.full(41, 2 + 1j), 3.0, tensor=tensor)
    for figure in (
        comparison_figure([(name, replace(spectrum, tensor=None), spectrum)]),
        response_figure(name, spectrum),
        tensor_figure(name, spectrum),
    ):
        figure.savefig(tmp_path / "figure.png")
        texts = [text for text in figure.findobj(Text) if name in text.get_text()]
        assert texts and not any(text.get_parse_math() for text in texts)


def test_the_title_of_a_prediction_is_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = []

    def draw(title: str, *args: object) -> object:
        titles.append(title)
        return response_figure(title, *args)  # type: ignore[arg-type]

    monkeypatch.setattr("dielectric_gnn.prediction.files.response_figure", draw)
    summary = {"material_id": "x$y$" * 40, "formula": "Ag", "drude_ev": 8.94, "drude_std_ev": None}
    summary |= {"broadening_ev": None, "remarks": ""}
    spectrum = Spectrum(ENERGIES, np.full(41, 2 + 1j), 8.94)
    write_material(tmp_path / "x", spectrum, False, summary, True, ())
    (title,) = titles
    assert "ω_D = 8.94 eV" in title and "\\" not in title
    drawn = response_figure(title, spectrum).get_suptitle()
    assert drawn.startswith("Ag (x$y$") and "8.94 eV, predicted" in drawn and "…" in drawn


def test_the_page_shows_names_and_runs_nothing(tmp_path: Path) -> None:
    name = "\"><script>alert('$x')</script>"
    row = {"material_id": name, "formula": "Ag", "srgb_hex": "#ffd700", **dict.fromkeys(RANKABLE)}
    write_summary(tmp_path, [row], None)
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;" in page and "$x" in page
    assert "<b>" not in prediction_page("<b>", "<b>", [("material_id", "<b>", "<b>")], [{"material_id": "<b>"}])
