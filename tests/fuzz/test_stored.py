"""What this package writes and reads again (stores, journals, run records), and tables, lists and YAML of people."""

from __future__ import annotations

import io
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dielectric_gnn.data.download import figshare
from dielectric_gnn.data.download.md5_lists import check_listed
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.splits import composition_split, listed_rows, read_ids
from dielectric_gnn.data.store.builder import StoreBuilder
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.files import map_array, open_store
from dielectric_gnn.data.store.rows import Recipe, identity, read_chunk
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.prediction.journal import PredictionJournal
from dielectric_gnn.scaling.reading import runs_from_csv
from dielectric_gnn.studies.plan import plan_runs
from dielectric_gnn.studies.spec import read_study
from dielectric_gnn.training.run_record import RunRecord, read_record, write_record
from dielectric_gnn.utils.files import file_stem
from dielectric_gnn.utils.sealed_lines import parse_sealed_line, sealed_line
from dielectric_gnn.utils.yaml_files import read_yaml
from tests.fuzz.properties import (
    TEXTS,
    damaged_bytes,
    damaged_text,
    damaged_values,
    encoded,
    examples,
    places,
    plain,
    reads_or_refuses,
)

REPOSITORY = Path(__file__).parents[2]
RECORD = RunRecord(
    name="a", status="finished", backbone="Goten", head="FreeForm", num_parameters=100, num_train=10, subset="x",
    seed=1, epochs=2, steps=20, samples_seen=20, width=16, best_validation_loss=0.5, metrics={"test/loss": 0.25},
    learning_curve=({"epoch": 0, "train/loss": 1.0},), cost={"cpu_seconds": 1.5, "launches": 1},
)  # fmt: skip
TABLE = "# a comment\nloss,D,seed,run,group\n1.0,100,1,a,x\n0.8,200,1,b,x\n0.7,400,2,c,x\n"


@pytest.fixture(scope="module")
def store(metals: list[CrystalRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "store"
    write_store(path, iter(metals[::20]), 4.0, composition_split, tensors=True, symmetry="orbit")
    return path


@pytest.fixture(scope="module")
def copy(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copies") / "store"
    shutil.copytree(store, path)
    return path


def use_store(folder: Path) -> None:
    found = reads_or_refuses(lambda: open_store(folder))
    if found is not None:
        reads_or_refuses(lambda: found[0].gather(list(range(len(found[0])))))
        reads_or_refuses(lambda: found[0].remarks(0))


@examples(150)
@given(data=st.data(), signed=st.booleans())
def test_metadata_of_stores(store: Path, copy: Path, data: st.DataObject, signed: bool) -> None:
    """Also with a correct checksum, as an attacker would write it."""
    good = json.loads((store / "metadata.json").read_text())
    value = data.draw(damaged_values(good))
    if signed and isinstance(value, dict):
        value.pop("checksum", None)
        value["checksum"] = f"{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"
    (copy / "metadata.json").write_bytes(encoded(json.dumps(value)))
    use_store(copy)
    reads_or_refuses(lambda: verify_store(copy))


@examples(60)
@given(data=st.data())
def test_files_of_stores(store: Path, copy: Path, data: st.DataObject) -> None:
    shutil.copyfile(store / "metadata.json", copy / "metadata.json")
    name = data.draw(st.sampled_from(sorted(path.name for path in store.iterdir())))
    (copy / name).write_bytes(data.draw(damaged_bytes((store / name).read_bytes())))
    use_store(copy)
    shutil.copyfile(store / name, copy / name)


@examples(100)
@given(data=st.data())
def test_headers_of_arrays(tmp_path: Path, data: st.DataObject) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(2, 3))
    good = file.getvalue()
    header = data.draw(
        damaged_text(good[10:128].decode()) | damaged_bytes(good[10:128]).map(lambda b: b.decode("latin-1"))
    )
    content = encoded(header)
    (tmp_path / "a.npy").write_bytes(good[:8] + len(content).to_bytes(8, "little")[:2] + content + good[128:])
    reads_or_refuses(lambda: map_array(tmp_path / "a.npy"))


@examples(150)
@given(row=plain, damaged=st.data())
def test_lines_with_checksums(row: Any, damaged: st.DataObject) -> None:
    values = {"a": row}
    line = sealed_line(values)
    assert line.count("\n") == 1 and line.endswith("\n")
    again = parse_sealed_line(line)
    assert json.dumps(again) == json.dumps(values)  # NaN is not equal to itself
    content = damaged.draw(damaged_bytes(line.encode()))
    found = parse_sealed_line(content)
    assert found is None or json.dumps(found) == json.dumps(again)


@examples(60)
@given(data=st.data())
def test_journals_of_predictions(tmp_path: Path, data: st.DataObject) -> None:
    identity = {"model": "abc"}
    good = {"material_id": "a", "launch": 1, "q": 1.5}
    (tmp_path / "finished-0.jsonl").unlink(missing_ok=True)
    journal = PredictionJournal(tmp_path, identity)
    journal.append([good, {**good, "material_id": "b"}], rank=0)
    journal.close()
    path = tmp_path / "finished-0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = sealed_line({"row": data.draw(damaged_values(good))}).encode()
    path.write_bytes(data.draw(st.just(b"".join(lines)) | damaged_bytes(b"".join(lines))))
    again = PredictionJournal(tmp_path, identity)
    assert again.rows().keys() <= {"a", "b"}
    again.append([good], rank=0)
    again.close()


@examples(60)
@given(data=st.data())
def test_unfinished_builds(metals: list[CrystalRecord], tmp_path: Path, data: st.DataObject) -> None:
    target, recipe = tmp_path / "store", Recipe(4.0, "float32", False)
    with StoreBuilder(target, recipe, {"a": 1}, restart=True) as unfinished:
        for number in range(2):
            unfinished.add(read_chunk(recipe, identity, "raise", metals[2 * number : 2 * number + 2]))
    name = data.draw(st.sampled_from(["plan.json", "journal.jsonl"]))
    path = unfinished.folder / name
    path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))

    def resume() -> tuple[list[str], int]:
        with StoreBuilder(target, recipe, {"a": 1}) as found:
            return found.ids, found.num_items

    resumed = reads_or_refuses(resume)
    if resumed is not None:
        ids, num_items = resumed
        assert ids == [record.material_id for record in metals[:num_items]]


@examples(200)
@given(data=st.data())
def test_run_records(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "run_record.json"
    write_record(path, RECORD)
    good = path.read_text()
    values = damaged_values(json.loads(good)).map(lambda value: encoded(json.dumps(value)))
    path.write_bytes(data.draw(values | damaged_bytes(good.encode())))
    record = reads_or_refuses(lambda: read_record(path))
    if record is not None:
        write_record(tmp_path / "again.json", record)
        assert read_record(tmp_path / "again.json").name == record.name


@examples(150)
@given(content=damaged_text(TABLE).map(encoded) | damaged_bytes(TABLE.encode()))
def test_tables(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    reads_or_refuses(lambda: runs_from_csv(tmp_path / "a.csv"))


@examples(150)
@given(content=st.binary(max_size=50) | st.text().map(encoded) | damaged_text("mp-1\nmp-2\n").map(encoded))
def test_lists_of_ids(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ids.txt").write_bytes(content)
    ids = reads_or_refuses(lambda: read_ids(tmp_path / "ids.txt"))
    assert ids is None or all(name.strip() == name and name for name in ids)
    reads_or_refuses(lambda: listed_rows(tmp_path / "ids.txt", np.array(["mp-1", "mp-2"])))


@examples(200)
@given(one=st.text() | st.sampled_from(TEXTS), other=st.text() | st.sampled_from(TEXTS))
def test_names_of_files(one: str, other: str) -> None:
    stem = file_stem(one)
    assert 0 < len(stem.encode()) < 200 and not {"/", "\\", "\0", "\n", "\r"} & set(stem) and stem[0] != "."
    assert (stem == file_stem(other)) == (one == other)


STUDIES = sorted((REPOSITORY / "configs/study").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=[path.name for path in STUDIES])
@examples(40)
@given(data=st.data())
def test_studies(tmp_path: Path, path: Path, data: st.DataObject) -> None:
    (tmp_path / "a.yaml").write_bytes(encoded(data.draw(damaged_text(path.read_text(encoding="utf-8")))))
    reads_or_refuses(lambda: read_yaml(tmp_path / "a.yaml"))
    study = reads_or_refuses(lambda: read_study(tmp_path / "a.yaml"))
    if study is not None:
        reads_or_refuses(lambda: plan_runs(study))


@examples(100)
@given(content=st.text(alphabet="ab:-[]{}&*!?|>'\"#, \n\t%@`~0159.", max_size=40))
def test_yaml(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.yaml").write_bytes(encoded(content))
    reads_or_refuses(lambda: read_yaml(tmp_path / "a.yaml"))


ANSWER = {"id": 7, "files": [{"name": "a.h5", "size": 10, "download_url": "https://x/1", "computed_md5": "0" * 32}]}


@examples(150)
@given(data=st.data())
def test_answers_of_the_api(data: st.DataObject) -> None:
    text = data.draw(
        damaged_values(ANSWER).map(lambda value: encoded(json.dumps(value)))
        | damaged_bytes(json.dumps(ANSWER).encode())
    )
    files = reads_or_refuses(lambda: figshare.listed_files("https://x/7", text))
    for file in files or ():
        assert file.size >= 0 and "/" not in file.name and not file.name.startswith(".")


@examples(60)
@given(content=damaged_text(f"{'0' * 32}  a.h5\n{'1' * 32}  b.h5\n").map(encoded) | st.binary(max_size=60))
def test_lists_of_md5(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "md5sums.txt").write_bytes(content)
    (tmp_path / "a.h5").write_bytes(b"")
    reads_or_refuses(lambda: check_listed([tmp_path / "a.h5"]))


def test_damage_reaches_every_place() -> None:
    """Else nothing above would say much."""
    value = {"a": [1, {"b": 2}], "c": "d"}
    assert set(places(value)) == {(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",)}
