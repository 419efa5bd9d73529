"""Metals and insulators in one training through the real command, some without Re ε."""

import bz2
import json
from itertools import islice
from pathlib import Path

import pandas as pd
import torch

from dielectric_gnn.data.sources import ExampleMetals
from tests.commands import SMALL_MODEL, Command
from tests.entries import write_entry, write_metals_and_insulators, write_record


def test_metals_and_insulators_from_fit_to_predict(command: Command, tmp_path: Path) -> None:
    folder, run = tmp_path / "in", tmp_path / "run"
    insulators = write_metals_and_insulators(folder)
    write_entry(folder / "Pt.json", "Pt", symbols=("Pt",), drude=None)
    write_entry(folder / "KCl.json", "KCl", symbols=("K", "Cl"), lattice_constant=6.2, band_gap=8.0, with_real=False)
    source = ["--data.source", "EntryJson", "--data.source.path", str(folder), "--data.split", "seeded"]
    source += ["--data.split_fractions", "[0.7, 0.1, 0.2]", "--data.split_seed", "3"]
    fit = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--trainer.max_epochs", "2", "--run_dir", str(run)]
    failed = command(*fit, *source, "--data.insulators", "drude_zero", status=2)
    assert "KCl" in failed.stderr and "band_gap is 8 eV and drude_freq reaches 5 eV" in failed.stderr
    write_entry(folder / "KCl.json", "KCl", symbols=("K", "Cl"), lattice_constant=6.2, band_gap=8.0,
                with_real=False, drude=None)  # fmt: skip
    fitted = command(*fit, *source, "--data.insulators", "drude_zero", "--data.batch_size", "4")
    best = run / "checkpoints" / "best.ckpt"
    statistics = torch.load(best, weights_only=True)["dielectric_gnn"]["training_statistics"]
    trained = set((run / "train_ids.txt").read_text().split())
    assert statistics["num_zero_drude"] == len(trained & {*insulators, "KCl"}) > 0
    assert statistics["num_drude"] == len(trained - {"Pt"}) and statistics["num_real"] == len(trained - {"KCl"})
    assert f"labels of the {len(trained)} training materials" in fitted.stdout + fitted.stderr
    command("test", "--ckpt_path", str(best), *source)
    metrics = json.loads((run / "run_record.json").read_text())["metrics"]
    assert any(key.startswith("test/") for key in metrics)  # the test of the run's own source is recorded
    table = pd.read_csv(run / "test" / "per_material.csv").set_index("material_id")
    assert table["loss"].notna().all() and table["mae_im"].notna().all()
    assert (table["drude_error"].isna() == (table.index == "Pt")).all()
    assert (table["drude_error_percent"].isna() == table.index.isin([*insulators, "KCl", "Pt"])).all()
    command("predict", "--ckpt_path", str(best), "--crystals", "docs/crystals/fcc_silver.cif")
    assert (run / "predictions" / "fcc_silver.csv").is_file()


def test_computed_insulators_are_learned_beside_computed_metals(command: Command, tmp_path: Path) -> None:
    """LiF and Si, computed like the embedded metals (`tools/compute_metals.py`), with their band gaps in PBE."""
    folder, run = tmp_path / "in", tmp_path / "run"
    metals = [
        write_record(folder / f"{record.material_id}.json", record).stem
        for record in islice(ExampleMetals(parts=1).records(), 14)
    ]
    for name, gap in (("gpaw-lif", 8.9), ("gpaw-si", 0.6)):
        content = json.loads(bz2.decompress(Path(f"tests/data/insulators/{name}.json.bz2").read_bytes()))
        # The smearing of the calculation leaves silicon a Drude frequency of 0.3 eV; its gap says that it has none.
        content["data"] |= {"drude_freq": None, "band_gap": gap}
        (folder / f"{name}.json").write_text(json.dumps(content))
    trained = [*metals, "gpaw-lif", "gpaw-si"]
    (tmp_path / "split.json").write_text(json.dumps({"train": trained, "val": [], "test": []}))
    data = ["--data.source", "EntryJson", "--data.source.path", str(folder), "--data.insulators", "drude_zero"]
    fit = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, *data, "--run_dir", str(run)]
    fit += ["--data.split_ids", str(tmp_path / "split.json")]
    command(*fit, "--trainer.max_epochs", "60", "--trainer.limit_val_batches", "0", "--figures.every_n_epochs", "0",
            "--data.batch_size", "8", "--model.optimizer.init_args.lr", "0.01")  # fmt: skip
    command("test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *data, "--data.all_as", "test",
            "--run_dir", str(tmp_path / "test"))  # fmt: skip
    table = pd.read_csv(tmp_path / "test" / "evaluation" / "per_material.csv").set_index("material_id")
    assert (table.loc[["gpaw-lif", "gpaw-si"], "drude_error"] < 0.2).all(), "neither has free electrons"
    assert table.loc[metals, "drude_error"].mean() < 2.0
