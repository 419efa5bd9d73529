"""The command tools/prepare_data.py, and training from what it writes."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dielectric_gnn.cli import prepare
from dielectric_gnn.data.record import CrystalRecord, element_symbol
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.files import open_store
from tests.commands import Command, environment, run_command

Tool = Callable[..., subprocess.CompletedProcess[str]]
SMALL_FIT = [
    *("--model.backbone.width", "16", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
    *("--data.batch_size", "4", "--figures.every_n_epochs", "0"),
]


@pytest.fixture
def tool(repository: Path) -> Tool:
    def run(*args: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        result = run_command("tools/prepare_data.py", *args)
        assert result.returncode == status, f"status {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def call(repository: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    """The command in this process, which saves seconds of imports."""

    def run(*args: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        found = 0
        try:
            prepare.main([str(arg) for arg in args])
        except SystemExit as ended:
            found = int(ended.code or 0)
        output = capsys.readouterr()
        assert found == status, output.err
        return subprocess.CompletedProcess([], found, output.out, output.err)

    return run


def write_hdf5(folder: Path, metals: list[CrystalRecord]) -> dict[str, list[str]]:
    """Every sixth embedded metal in the prepared format, with the split of the embedded set."""
    chosen = {record.material_id: record for record in metals[::6]}
    split = {
        name: sorted(material_id for material_id in ids if material_id in chosen)
        for name, ids in ExampleMetals(parts=1).split().items()
    }
    folder.mkdir()
    for name, ids in split.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for record in (chosen[material_id] for material_id in ids):
                assert record.labels is not None
                group = file.create_group(record.material_id)
                group["mat_id"], group["composition"] = record.material_id.encode(), record.formula.encode()
                group["e_above_hull"] = 0.0
                group["lattice"] = record.lattice.astype(np.float32)
                group["atomic_number"] = record.atomic_numbers.astype(np.uint16)
                group["position"] = record.positions.astype(np.float32)
                group["drude"] = np.sqrt(np.mean(record.labels.drude**2)).astype(np.float32)
                group["eps"] = record.labels.eps_inter.mean(axis=0).astype(np.complex64)
    return split


def json_entry(record: CrystalRecord) -> bytes:
    assert record.labels is not None
    energies = np.linspace(0, 20, 2001)
    fractional = record.positions @ np.linalg.inv(record.lattice)
    sites = [
        {"species": [{"element": element_symbol(int(number)), "occu": 1}], "abc": row.tolist()}
        for number, row in zip(record.atomic_numbers, fractional, strict=True)
    ]
    tables = {
        "eps_inter_re": np.column_stack([energies, record.labels.eps_inter.real.T]).tolist(),
        "eps_inter_im": np.column_stack([energies, record.labels.eps_inter.imag.T]).tolist(),
    }
    content = {
        "parameters": {"broadening_ev": 0.3},
        "data": {"mat_id": record.material_id, "drude_freq": record.labels.drude.tolist(), **tables},
        "structure": {"lattice": {"matrix": record.lattice.tolist()}, "sites": sites},
    }
    return json.dumps(content).encode()


@pytest.fixture
def archive(metals: list[CrystalRecord], tmp_path: Path) -> Path:
    """Every sixth embedded metal as a zip of JSON entries, and a broken one."""
    path = tmp_path / "entries.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for record in metals[::6]:
            file.writestr(f"entries/{record.material_id}.json", json_entry(record))
        file.writestr("entries/broken.json", b"{")
    return path


def test_hdf5_keeps_its_split_and_trains(
    tool: Tool, call: Tool, command: Command, metals: list[CrystalRecord], tmp_path: Path
) -> None:
    split = write_hdf5(tmp_path / "prepared", metals)
    out = tmp_path / "store"
    built = tool("build", tmp_path / "prepared", out, "--broadening", "0.3")
    sizes = ", ".join(f"{len(ids)} {name}" for name, ids in split.items())
    assert f"materials: 17 ({sizes})" in built.stdout and "reading: 17 materials of 17 materials" in built.stderr
    assert re.search(r"size: \S+ MB, \d+ bytes per material", built.stdout)
    last = built.stdout.strip().splitlines()[-1]
    assert (
        last == f"The store is in {out}; train with: dielectric-gnn fit --config configs/base.yaml --data.store {out}"
    )
    assert built.stdout.startswith(call("info", out).stdout)
    store, positions = open_store(out)
    assert {name: [store.material_ids[row] for row in rows] for name, rows in positions.items()} == split
    by_id = {record.material_id: record for record in metals}
    direct = CrystalStore.from_records([by_id[material_id] for material_id in store.material_ids], 5.5)
    np.testing.assert_allclose(store.eps_inter, direct.eps_inter, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(store.drude, direct.drude, rtol=1e-6)

    words = last.split("dielectric-gnn ")[1].split()
    fitted = command(*words, *SMALL_FIT, "--run_dir", str(tmp_path / "run"))
    assert f"{len(split['train'])} train" in fitted.stdout
    best = str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    command("test", "--ckpt_path", best, "--data.store", str(out))
    refused = command("fit", *words[1:], *SMALL_FIT, "--data.store", str(tmp_path / "nowhere"), status=2)
    assert "nowhere: no such store" in refused.stderr
    prepared = tmp_path / "prepared"
    assert "the source fixes the split" in tool("build", prepared, tmp_path / "b", "--split-seed", 1, status=2).stderr
    tool("build", prepared, tmp_path / "b", "--broadening", "0.3", "--workers", 2)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).glob("*.npy")} for name in ("store", "b"))
    assert one == two


def test_orbits_give_the_training_of_full_graphs(call: Tool, command: Command, tmp_path: Path) -> None:
    """The same store trained both ways, and the line for a network that cannot."""
    out = tmp_path / "store"
    built = call("build", "synthetic:30", out, "--symmetry", "orbit")
    assert re.search(r"orbits: 30 of 30 materials have equal atoms or edges; .*edges become \d", built.stdout)
    fit = ("fit", "--config", "configs/published/optimetal3b_tc.yaml", "--data.store", str(out), *SMALL_FIT)
    losses = []
    for symmetry in ("full", "orbit"):
        run = tmp_path / symmetry
        shown = command(*fit, "--data.symmetry", symmetry, "--run_dir", str(run))
        assert ("orbit graphs: 30 of 30" in shown.stdout + shown.stderr) == (symmetry == "orbit")
        losses.append(json.loads((run / "run_record.json").read_text())["best_validation_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    best = str(tmp_path / "orbit" / "checkpoints" / "best.ckpt")
    shown = command("predict", "--ckpt_path", best, "--crystals", "docs/crystals", "--data.symmetry", "orbit")
    assert "orbit graphs" in shown.stdout + shown.stderr
    goten = ("--config", "configs/backbone/goten.yaml", "--data.store", str(out), "--data.symmetry", "orbit")
    refused = command("fit", "--config", "configs/base.yaml", *goten, *SMALL_FIT, status=2)
    assert "its backbone is equivariant" in refused.stderr and "Traceback" not in refused.stderr


def test_archive_of_entries_with_rejects_workers_and_float16(
    tool: Tool, archive: Path, metals: list[CrystalRecord], tmp_path: Path
) -> None:
    out = tmp_path / "store"
    stopped = tool("build", archive, out, status=2)
    assert stopped.stderr.splitlines()[-1].startswith(f"error: {archive}:entries/broken.json: not readable JSON")
    assert "--on-error skip" in stopped.stderr and not out.exists()
    built = tool("build", archive, out, "--on-error", "skip", "--workers", 2, "--spectra", "float16", "--cutoff", 4)
    assert "rejected: 1" in built.stdout and "spectra: float16" in built.stdout
    assert built.stdout.strip().endswith(f"--data.store {out} --data.cutoff 4.0 --model.backbone.cutoff 4.0")
    with (tmp_path / "store_rejects.csv").open() as file:
        assert [row["source"] for row in csv.DictReader(file)] == [f"{archive}:entries/broken.json"]
    store, split = open_store(out)
    direct = CrystalStore.from_records(sorted(metals[::6], key=lambda record: record.material_id), 4.0)
    assert list(store.material_ids) == direct.material_ids
    np.testing.assert_array_equal(store.edge_index, direct.edge_index)
    np.testing.assert_allclose(store.eps_inter, direct.eps_inter, rtol=2**-11, atol=1e-7)
    sides = [{store.formulas[row] for row in rows} for rows in split.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert "exists already" in tool("build", archive, out, "--on-error", "skip", status=2).stderr


def test_lists_of_ids(call: Tool, archive: Path, metals: list[CrystalRecord], tmp_path: Path) -> None:
    ids = [record.material_id for record in metals[::6]]
    parts = {"train": [*ids[:12], "broken"], "val": ids[12:14], "test": ids[14:]}

    def build(status: int = 0, **changes: list[str]) -> str:
        paths = [tmp_path / f"{name}.txt" for name in parts]
        for path, (name, listed) in zip(paths, parts.items(), strict=True):
            path.write_text("\n".join(changes.get(name, listed)) + "\n")
        options = ("--on-error", "skip", "--overwrite", "--ids")
        return call("build", archive, tmp_path / "store", *options, *paths, status=status).stderr

    build()
    store, split = open_store(tmp_path / "store")
    assert [store.material_ids[row] for row in split["val"]] == ids[12:14]
    assert split["train"].size == 12
    assert f"id number 3, '{ids[0]}', is listed already in" in build(2, val=[*ids[12:14], ids[0]])
    assert "2 ids of the split, the first 'broken', were not read, but only 1" in build(2, test=[*ids[14:], "nobody"])
    assert f"1 materials, the first '{ids[12]}', are in no list" in build(2, val=ids[13:14])
    assert "test.txt: the list is empty" in build(2, test=[])
    assert len(open_store(tmp_path / "store")[0]) == 17  # a failed build leaves the old store


def test_mistakes_are_one_line(call: Tool, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for args, message in (
        (("build", tmp_path / "nowhere", tmp_path / "out"), "nowhere: no such file or folder"),
        (("build", tmp_path / "empty", tmp_path / "out"), "empty: the folder holds no .json"),
        (("build", tmp_path / "empty", tmp_path / "out", "--format", "hdf5"), "train.h5: no such file"),
        (("build", tmp_path / "empty", tmp_path / "out", "--cutoff", "-1"), "cutoff is -1.0 Å"),
        (("build", "synthetic:9", tmp_path / "out", "--cutoff", "nan"), "--cutoff: expected number, got nan"),
        (("build", "synthetic:9", tmp_path / "out", "--cutoff", "inf"), "--cutoff: expected number, got inf"),
        (("build", "synthetic:9", tmp_path / "out", "--cutoff", ".inf"), "cutoff is inf Å, expected a finite number"),
        (("build", "synthetic:9", tmp_path / "out", "--split-seed", -1), "split_seed is -1, expected at least 0"),
        (("build", "synthetic:9", tmp_path / "out", "--broadening", ".nan"), "broadening_ev is nan eV, expected a fin"),
        (("build", tmp_path / "empty", tmp_path / "out", "--broadening", ".inf"), "broadening_ev is inf eV"),
        (("build", "synthetic:many", tmp_path / "out"), "source is 'synthetic:many', expected synthetic:NUMBER"),
        (("build", "synthetic:9", tmp_path / "out", "--rattle", 3), "rattle is 3.0 Å"),
        (("build", tmp_path / "empty", tmp_path / "out", "--seed", 1), "seed and rattle apply to synthetic:NUMBER"),
        (("build", "synthetic:9", tmp_path / "out", "--workers", 0), "workers is 0"),
        (("verify", tmp_path / "empty"), "empty: not a store, it has no metadata.json"),
        (("info", tmp_path / "empty"), "empty: not a store, it has no metadata.json"),
        (("download", "prepared", tmp_path / "new", "--api-url", "ftp://x"), "expected an http or https address"),
    ):
        result = call(*args, status=2)
        assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_a_failed_split_says_what_is_kept(call: Tool, tmp_path: Path) -> None:
    out, kept = tmp_path / "out", tmp_path / ".out.partial"
    refused = call("build", "synthetic:2", out, status=2).stderr.splitlines()[-1]
    assert "2 distinct formulas are too few" in refused and f"{kept} keeps the 2 materials" in refused
    assert "--restart" in refused and kept.is_dir()
    assert "discard it with --restart" in call("build", "synthetic:20", out, status=2).stderr
    call("build", "synthetic:20", out, "--restart")
    assert out.is_dir() and not kept.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_what_is_kept(repository: Path, tmp_path: Path, workers: int) -> None:
    out, journal = tmp_path / "out", tmp_path / ".out.partial" / "journal.jsonl"
    line = [sys.executable, "tools/prepare_data.py", "build", "synthetic:100000", str(out), "--workers", str(workers)]
    process = subprocess.Popen(
        line, cwd=repository, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # A shell lets what it runs in the background ignore Ctrl-C, and so would what these tests launch.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while process.poll() is None and not journal.exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, output = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in output
    number = sum(len(json.loads(text)["row"]["ids"]) for text in journal.read_text().splitlines())
    last = output.splitlines()[-1]
    assert last.startswith(f"stopped; {number} materials are kept in {journal.parent}") and "same command" in last


def test_synthetic_store_is_described_verified_and_its_damage_named(call: Tool, tmp_path: Path) -> None:
    out = tmp_path / "store"
    built = call("build", "synthetic:30", out, "--seed", 4, "--rattle", 0.02, "--tensors").stdout
    assert "source: SyntheticMetals synthetic:30 (synthetic, not materials data; seed 4, rattle 0.02 Å)" in built
    assert re.search(r"three-body pairs: \d+ within 4 Å; at most \d+ atoms, \d+ edges, \d+ pairs per material", built)
    assert re.search(r"elements: \d+, the rarest in \w+ \d", built) and "full tensors of 30 materials" in built
    store, _ = open_store(out)
    assert store.material_ids[29] == "synthetic-4-000029"
    sound = call("verify", out)
    assert sound.stdout == f"{out}: sound (30 materials, 18 arrays)\n"
    assert "values: 30 materials of 30 materials" in sound.stderr
    path = out / "eps_deviator.npy"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    damaged = call("verify", out, status=2).stderr.splitlines()[-1]
    assert damaged == (
        f"error: {out}: damaged: eps_deviator.npy (wrong checksum); build the store anew, or copy it again"
    )


def test_help_teaches(call: Tool) -> None:
    assert "dielectric-gnn prepare build data/prepared data/store" in call("--help").stdout
    page = call("build", "--help").stdout
    assert "continued by repeating the same command" in page and "80/10/10" in page and "--source.help CLASS" in page
    assert "every byte of STORE" in call("verify", "--help").stdout
    assert "continued by repeating the command" in call("download", "--help").stdout.replace("\n", " ")
