"""The layout of the published raw files, on a made-up file of exactly that layout; splits and subsets of the study."""

import bz2
import copy
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.sources import EntryJson
from dielectric_gnn.data.sources.entry_json import read_entry
from dielectric_gnn.data.sources.json_files import without_tables
from dielectric_gnn.data.splits import published_rows, published_split
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils import errors
from dielectric_gnn.utils.errors import InputError, RecordError

FILE = Path(__file__).parents[2] / "data/agm-like.json.bz2"


@pytest.fixture(scope="module")
def entry() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(bz2.decompress(FILE.read_bytes()))
    return plain


def write(path: Path, entry: dict[str, Any]) -> Path:
    path.write_text(json.dumps(entry), encoding="utf-8")
    return path


def test_a_file_of_the_published_layout_is_read(entry: dict[str, Any]) -> None:
    record = read_entry(FILE)
    assert (record.material_id, record.formula, record.atomic_numbers.size) == ("agm-like", "Li2Sc", 3)
    assert record.labels is not None and record.labels.grid == EnergyGrid()
    table = np.array(entry["data"]["eps_inter_re"]["data"])
    assert 1e-5 < np.abs(table[:, 0] - EnergyGrid().energies()).max() < 1.3e-5
    np.testing.assert_array_equal(record.labels.eps_inter.real, table[:, 1:].T)
    np.testing.assert_array_equal(record.labels.drude, entry["data"]["drude_freq"])
    assert record.metadata["e_above_hull"] == 0.098 and record.metadata["parameters"]["functional"] == "pbe"


def test_the_total_response_of_the_file_is_ours(entry: dict[str, Any]) -> None:
    """eps_tot = eps_inter − ω_D² / (ω² + iγω) with γ = 0.1 eV along each axis; infinite at ω = 0."""
    record, data = read_entry(FILE), entry["data"]
    assert record.labels is not None
    total = sum(np.array(data[f"eps_tot_{part}"]["data"])[1:, 1:] * factor for part, factor in (("re", 1), ("im", 1j)))
    energies = np.array(data["eps_tot_re"]["data"])[1:, 0][:, None]
    drude = record.labels.drude**2 / (energies**2 + 0.1j * energies)
    np.testing.assert_allclose(total, record.labels.eps_inter.T[1:] - drude, rtol=1e-4, atol=1e-4)
    assert np.isinf(np.array(data["eps_tot_im"]["data"])[0, 1:]).all()


def test_further_tables_are_not_kept(entry: dict[str, Any], tmp_path: Path) -> None:
    record = read_entry(FILE)
    assert record.labels is not None
    own = record.labels.eps_inter.nbytes
    assert len(pickle.dumps(record)) < own + 4000
    assert not {"eps_tot_re", "eps_tot_im", "another_table"} & record.metadata.keys()
    plain = copy.deepcopy(entry)  # nested lists in place of encoded arrays
    for key, value in plain["data"].items():
        plain["data"][key] = value["data"] if isinstance(value, dict) else value
    again = read_entry(write(tmp_path / "plain.json", plain))
    assert len(pickle.dumps(again)) < own + 4000 and again.metadata.keys() == record.metadata.keys()
    np.testing.assert_array_equal(again.labels.eps_inter, record.labels.eps_inter)  # type: ignore[union-attr]


def test_cutting_tables_changes_nothing_else(entry: dict[str, Any]) -> None:
    entry = copy.deepcopy(entry)
    entry["data"]["note"] = (
        'a text with "eps_tot_re": {"@module": "numpy", "data": [' + "1, " * 3000 + "1]} and \\ in it"
    )
    text = json.dumps(entry).encode()
    cut = json.loads(without_tables(text, ["eps_inter_re", "eps_inter_im"]))
    assert cut["data"].pop("eps_tot_re") == {} and cut["data"].pop("another_table") == {}
    assert cut["data"].pop("eps_tot_im") == {}
    for key in ("eps_tot_re", "eps_tot_im", "another_table"):
        entry["data"].pop(key)
    assert cut == entry


OTHER_GRIDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fewer points": lambda energies: energies[:-1],
    "stretched": lambda energies: energies * 19.99 / 20,
    "half a step": lambda energies: energies + 0.005,
    "other spacing": lambda energies: np.concatenate([energies[:1000], energies[1000:] + 0.002]),
    "nm": lambda energies: 1239.84 / np.maximum(energies, 0.01),
}


@pytest.mark.parametrize("name", OTHER_GRIDS)
def test_other_grids_are_refused(entry: dict[str, Any], tmp_path: Path, name: str) -> None:
    other = copy.deepcopy(entry)
    for key in ("eps_inter_re", "eps_inter_im"):
        table = np.array(other["data"][key]["data"])
        energies = OTHER_GRIDS[name](table[:, 0])
        other["data"][key]["data"] = np.column_stack([energies, table[: energies.size, 1:]]).tolist()
    with pytest.raises(RecordError, match="2001 points"):
        read_entry(write(tmp_path / "other.json", other))


BAD_VALUES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "broadening NaN": (lambda e: e["parameters"].update(broadening_ev=float("nan")), "broadening"),
    "broadening negative": (lambda e: e["parameters"].update(broadening_ev=-0.1), "broadening"),
    "broadening zero": (lambda e: e["parameters"].update(broadening_ev=0), "broadening"),
    "broadening infinite": (lambda e: e["parameters"].update(broadening_ev=float("inf")), "broadening"),
    "broadening text": (lambda e: e["parameters"].update(broadening_ev="0.1 eV"), "broadening_ev is '0.1 eV'"),
    "occupancy NaN": (lambda e: e["structure"]["sites"][0]["species"][0].update(occu=float("nan")), "site 0"),
    "occupancy half": (lambda e: e["structure"]["sites"][1]["species"][0].update(occu=0.5), "site 1"),
    "no id": (lambda e: e["data"].update(mat_id=None), "mat_id is None"),
    "empty id": (lambda e: e["data"].update(mat_id=""), "mat_id is ''"),
    "id of blanks": (lambda e: e["data"].update(mat_id="  "), "mat_id"),
    "id a list": (lambda e: e["data"].update(mat_id=["a"]), "mat_id"),
    "id a number": (lambda e: e["data"].update(mat_id=7), "mat_id is 7"),
    "no abc": (lambda e: e["structure"]["sites"][1].pop("abc"), "'abc' is missing; expected lattice.matrix"),
    "no species": (lambda e: e["structure"]["sites"][0].pop("species"), "'species' is missing"),
    "huge coordinate": (lambda e: e["structure"]["sites"][0].update(abc=[10**400, 0, 0]), "too large"),
    "huge lattice": (
        lambda e: e["structure"]["lattice"].update(matrix=[[10**400, 0, 0], [0, 1, 0], [0, 0, 1]]),
        "large",
    ),
    "huge Drude": (lambda e: e["data"].update(drude_freq=[10**400, 1, 1]), "too large"),
    "not periodic": (lambda e: e["structure"]["lattice"].update(pbc=[True, True, False]), "pbc"),
    "vacancy": (lambda e: e["structure"]["sites"][0]["species"][0].update(element="Vac"), "'Vac'"),
    "parameters a list": (lambda e: e.update(parameters=[1]), "ComputedStructureEntry"),
}


@pytest.mark.parametrize(
    ("name", "workers"), [*((name, 1) for name in BAD_VALUES), ("huge coordinate", 2), ("broadening NaN", 2)]
)
def test_one_bad_value_is_one_reject(entry: dict[str, Any], tmp_path: Path, name: str, workers: int) -> None:
    change, message = BAD_VALUES[name]
    bad = copy.deepcopy(entry)
    change(bad)
    write(tmp_path / "bad.json", bad)
    write(tmp_path / "good.JSON", entry)
    source = EntryJson(str(tmp_path), workers=workers)
    assert [record.material_id for record in source.records("skip")] == ["agm-like"]
    (reject,) = source.rejects
    assert message in reject.problem and "bad.json" in reject.source and "\n" not in str(reject)
    with pytest.raises(RecordError, match="bad"):
        list(source.records("raise"))


@pytest.mark.parametrize("broadening", [float("nan"), -0.1, 0.0, float("inf")])
def test_a_broadening_given_as_an_option_is_checked(broadening: float) -> None:
    with pytest.raises(InputError, match="broadening"):
        EntryJson(str(FILE), broadening_ev=broadening)


def test_every_exception_survives_pickling() -> None:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert {InputError, RecordError} <= set(found)
    for kind in found:
        error = kind("a file", "a problem") if kind is RecordError else kind("a problem")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and str(again) == str(error) and vars(again) == vars(error)


def test_the_published_split() -> None:
    """Written from the text: sort, shuffle by the legacy generator, cut."""
    rng = np.random.default_rng(3)
    formulas = [f"A{number}B" for number in rng.integers(0, 150, size=400)]
    ids = [f"m{number}" for number in range(400)]
    unique = sorted(set(formulas))
    np.random.RandomState(42).shuffle(unique)
    first, second = int(0.8 * len(unique)), int(0.8 * len(unique)) + int(0.1 * len(unique))
    expected = {"train": set(unique[:first]), "val": set(unique[first:second]), "test": set(unique[second:])}
    found = published_split(ids, formulas)
    for name, chosen in expected.items():
        assert found[name] == [m for m, formula in zip(ids, formulas, strict=True) if formula in chosen]
    with pytest.raises(InputError, match="seeded"):
        published_split(ids[:9], [f"A{number}" for number in range(9)])


def test_the_published_subset() -> None:
    """`random.Random(42).sample` of the training list in the order of ids, whatever the order of the data set."""
    ids = [f"m{number:04}" for number in range(300)]
    shuffled = np.random.default_rng(0).permutation(np.array(ids))
    for size in (10, 100):
        expected = random.Random(42).sample(ids, size)
        assert shuffled[published_rows(shuffled, size)].tolist() == expected
    assert sorted(published_rows(shuffled, 300).tolist()) == list(range(300))
    with pytest.raises(InputError, match="301"):
        published_rows(shuffled, 301)


def test_data_modules_draw_the_published_split_and_subset(entry: dict[str, Any], tmp_path: Path) -> None:
    elements = ["Li", "Be", "Na", "Mg", "Al", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu"]
    for number, element in enumerate(elements):
        other = copy.deepcopy(entry)
        other["data"]["mat_id"] = f"m{number:02}"
        for site in other["structure"]["sites"]:
            site["species"][0]["element"] = element
        write(tmp_path / f"{number}.json", other)
    data = CrystalDataModule(EntryJson(str(tmp_path)), train_size=5, subset="published")
    data.setup("test")
    ids = [f"m{number:02}" for number in range(16)]
    split = published_split(ids, elements)
    for name in ("val", "test"):
        assert [data.store.material_ids[row] for row in data.indices[name]] == split[name]
    chosen = [data.store.material_ids[row] for row in data.indices["train"]]
    assert chosen == random.Random(42).sample(split["train"], 5)
    with pytest.raises(InputError, match="seeded"):
        CrystalDataModule(split_seed=1)
    seeded = CrystalDataModule(EntryJson(str(tmp_path)), split="seeded", split_seed=1)
    seeded.setup("test")
    assert [seeded.store.material_ids[row] for row in seeded.indices["test"]] != split["test"]
