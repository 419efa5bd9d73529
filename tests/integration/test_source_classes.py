"""`prepare build` with a source that is given by its class path: one of the package, and the one of docs/data.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dielectric_gnn.cli import prepare
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.files import open_store
from tests.commands import run_command

SYNTHETIC = "dielectric_gnn.data.sources.SyntheticMetals"


def arrays(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


def test_a_class_gives_the_store_that_its_path_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare.main(["build", "synthetic:12", str(tmp_path / "path"), "--seed", "3"])
    prepare.main(["build", str(tmp_path / "class"), f"--source={SYNTHETIC}", "--source.num", "12", "--source.seed=3"])
    assert arrays(tmp_path / "path") == arrays(tmp_path / "class")
    assert "SyntheticMetals num=12, seed=3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((f"--source={SYNTHETIC}",), ("num", "required")),
        ((f"--source={SYNTHETIC}", "--source.num", "many"), ("num", "whole number", "many")),
        ((f"--source={SYNTHETIC}", "--source.number", "3"), ("number", "not accepted")),
        (("--source=nowhere.Source",), ("source", "nowhere.Source")),
        (("--source=os.system",), ("os.system", "RecordSource")),
        ((f"--source={SYNTHETIC}", "--source.num=12", "--rattle", "0.1"), ("--rattle", "--source.")),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare.main(["build", str(tmp_path / "store"), *words])
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.startswith("error: ") and message.count("\n") == 1
    assert all(part in message for part in parts)
    assert not list(tmp_path.iterdir())


def write_spectra(folder: Path, metals: list[CrystalRecord]) -> None:
    """CIF files and tables as docs/data.md describes them, and a damaged one."""
    folder.mkdir()
    for record in metals:
        assert record.labels is not None
        eps, drude = record.labels.average()
        columns = np.column_stack([record.labels.grid.energies(), eps.real, eps.imag])
        name = record.material_id
        np.savetxt(folder / f"{name}.csv", columns, "%.8g", ",", header=f"drude_ev {drude:.8g}")
        structure = Structure(
            Lattice(record.lattice), record.atomic_numbers.tolist(), record.positions, coords_are_cartesian=True
        )
        structure.to(str(folder / f"{name}.cif"))
    (folder / "damaged.cif").write_text((folder / f"{metals[0].material_id}.cif").read_text())
    (folder / "damaged.csv").write_text("# drude_ev 1\n0,1\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_source_of_the_guide_is_built_and_its_bad_file_rejected(
    metals: list[CrystalRecord], repository: Path, tmp_path: Path, workers: int
) -> None:
    guide = (repository / "docs" / "data.md").read_text()
    code = re.search(r"```python\n(.*?class CifAndTable.*?)```", guide, re.DOTALL)
    line = re.search(r"dielectric-gnn (prepare build .* my_source\.CifAndTable .*)", guide)
    assert code and line
    (tmp_path / "my_source.py").write_text(code[1])
    chosen = metals[::6]
    write_spectra(tmp_path / "my_spectra", chosen)
    words = [*line[1].split(), "--source.broadening_ev", "0.3", "--workers", str(workers)]
    done = run_command("-m", "dielectric_gnn", *words, cwd=tmp_path, paths=(tmp_path,))
    assert done.returncode == 0 and "rejected: 1" in done.stdout, done.stderr
    assert "CifAndTable folder='my_spectra/', broadening_ev=0.3" in done.stdout
    assert "damaged.cif" in (tmp_path / "data" / "mine_rejects.csv").read_text()
    store, _ = open_store(tmp_path / "data" / "mine")
    direct = CrystalStore.from_records(sorted(chosen, key=lambda record: record.material_id), 5.5)
    assert list(store.material_ids) == direct.material_ids and store.broadening == 0.3
    np.testing.assert_allclose(store.eps_inter, direct.eps_inter, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(store.drude, direct.drude, rtol=1e-6)
