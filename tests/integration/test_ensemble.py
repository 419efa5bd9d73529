"""`test` and `predict` of several checkpoints through the real command."""

from pathlib import Path

import numpy as np
import torch

from dielectric_gnn.data.sources.structure_files import read_structure
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.prediction.loading import load_model
from tests.commands import SMALL, Command
from tests.integration.test_pipeline import rows_of

BEST = "checkpoints/best.ckpt"


def test_ensemble_is_reported_with_its_spread(command: Command, trained: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    command("fit", "--config", "configs/base.yaml", *SMALL, "--seed_everything", "2", "--run_dir", str(second))
    paths = [str(trained / BEST), str(second / BEST)]
    out = tmp_path / "both"
    for run in (trained, second):
        command("test", "--ckpt_path", str(run / BEST), "--run_dir", str(tmp_path / run.name))
    command("test", "--ensemble", *paths, "--run_dir", str(out))
    ensemble, *members = (
        {row["material_id"]: float(row["loss"]) for row in rows_of(folder / "test" / "per_material.csv")}
        for folder in (out, tmp_path / trained.name, tmp_path / second.name)
    )
    assert members[0] != members[1]
    for material_id, loss in ensemble.items():
        assert loss <= np.mean([member[material_id] for member in members]) + 1e-5
    spread = rows_of(out / "test" / "ensemble_std.csv")
    assert len(spread) == 2001 and all(float(row["std_re"]) > 0 for row in spread)

    command("predict", "--ensemble", *paths, "--crystals", "docs/crystals/fcc_silver.cif", "--run_dir", str(out))
    table = rows_of(out / "predictions" / "fcc_silver.csv")
    store = CrystalStore.from_records([read_structure(Path("docs/crystals/fcc_silver.cif"))], 5.5)
    with torch.no_grad():
        eps = np.stack([load_model(path)(store.gather([0])).eps_inter[0].numpy() for path in paths])
    shown = np.array([[float(row[key]) for key in ("eps_inter_re", "eps_inter_im")] for row in table])
    np.testing.assert_allclose(shown, eps.mean(0), rtol=1e-3, atol=1e-4)
    spreads = np.array([[float(row[f"eps_inter_{part}_std"]) for part in ("re", "im")] for row in table])
    np.testing.assert_allclose(spreads, eps.std(0, ddof=1), rtol=1e-3, atol=1e-4)
    (summary,) = rows_of(out / "predictions" / "summary.csv")
    assert float(summary["drude_std_ev"]) >= 0 and float(summary["eps_inter_std"]) > 0
    assert (out / "predictions" / "fcc_silver.png").is_file()
    refused = command("test", "--ensemble", *paths, "--ckpt_path", paths[0], status=2)
    assert "not both" in refused.stderr
    refused = command("predict", "--ensemble", paths[0], status=2)
    assert "at least two checkpoints" in refused.stderr
