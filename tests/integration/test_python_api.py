"""The public API: a model from a checkpoint, structures in, spectra out; and models that are built in Python."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer as LightningTrainer
from pymatgen.core import Lattice, Structure
from torch.optim import AdamW

import dielectric_gnn as dg
from dielectric_gnn import optics
from tests.commands import Command

SILVER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.09), ["Ag"], [[0, 0, 0]])


@pytest.fixture(scope="module")
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


def test_importing_the_package_is_fast_and_imports_no_torch() -> None:
    code = "import sys, dielectric_gnn; assert not {'torch', 'lightning', 'numpy', 'pymatgen'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in dg.__all__:
        assert getattr(dg, name) is not None
    assert {*dg.__all__} <= {*dir(dg)}
    with pytest.raises(AttributeError, match="nothing"):
        dg.nothing  # noqa: B018


def test_structures_of_every_kind_give_what_the_command_gives(
    checkpoint: Path, command: Command, tmp_path: Path, repository: Path
) -> None:
    model = dg.load(checkpoint)
    path = repository / "docs/crystals/fcc_silver.cif"
    one, two = model.predict(path), model.predict([path, str(path)])[1]
    np.testing.assert_allclose(one.eps_inter, two.eps_inter, atol=1e-5)
    command("predict", "--ckpt_path", str(checkpoint), "--crystals", str(path), "--run_dir", str(tmp_path))
    table = pd.read_csv(tmp_path / "predictions" / "fcc_silver.csv", comment="#")
    ours = one.to_dataframe()
    assert list(table) == list(ours)
    np.testing.assert_allclose(ours.to_numpy()[1:], table.to_numpy()[1:], rtol=1e-4, atol=1e-5)
    assert one.broadening == 0.3 and one.formula == "Ag"


def test_three_lines_from_a_structure_to_n_k_and_colour(checkpoint: Path) -> None:
    model = dg.load(checkpoint)
    silver = model.predict(SILVER)
    n, k, colour = silver.n_at(633, "nm"), silver.k_at(633, "nm"), silver.colour
    eps = silver.eps_inter
    energy = optics.HC_EV_NM / 633
    at = np.interp(energy, silver.energies, eps.real) + 1j * np.interp(energy, silver.energies, eps.imag)
    expected = np.sqrt(at - silver.drude**2 / (energy**2 + 1j * 0.1 * energy))
    assert abs(n - expected.real) < 0.02 * abs(expected) and abs(k - expected.imag) < 0.02 * abs(expected)
    assert colour is not None and colour.startswith("#") and len(colour) == 7
    assert silver.n_at(energy) == n == silver.n_at(0.633, "um")
    for value, unit in ((0.01, "nm"), (-1.0, "eV"), (1.0, "m")):
        with pytest.raises(dg.InputError):
            silver.n_at(value, unit)


def test_ase_atoms_and_what_is_no_crystal(checkpoint: Path) -> None:
    class Atoms:  # as ASE's: cell, positions, pbc
        pbc = (True, True, True)
        cell = SILVER.lattice.matrix
        positions = SILVER.cart_coords

        def get_atomic_numbers(self) -> list[int]:
            return [47] * 4

        def get_chemical_formula(self, empirical: bool = False) -> str:
            return "Ag"

    model = dg.load(checkpoint)
    np.testing.assert_allclose(model.predict(Atoms()).eps_inter, model.predict(SILVER).eps_inter)
    molecule = Atoms()
    molecule.pbc = (True, True, False)
    disordered = Structure(Lattice.cubic(4.09), [{"Ag": 0.5, "Au": 0.5}], [[0, 0, 0]])
    for wrong in (molecule, disordered, 5, "nothing.cif"):
        with pytest.raises(dg.InputError):
            model.predict(wrong)


def test_a_spectrum_is_drawn_and_exported(checkpoint: Path, tmp_path: Path) -> None:
    silver = dg.load(checkpoint).predict(SILVER)
    silver.plot().savefig(tmp_path / "silver.png")
    assert (tmp_path / "silver.png").stat().st_size > 10_000
    written = silver.export("meep", tmp_path / "silver_meep.py")
    assert "meep" in written.read_text() and "not measured" in written.read_text()
    with pytest.raises(dg.InputError, match="refractiveindex"):
        silver.export("zemax", tmp_path / "silver.zmx")


@pytest.mark.parametrize("trainer", [dg.Trainer, LightningTrainer])
@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:Trying to infer the `batch_size`", "ignore:.*LeafSpec"
)
def test_a_model_built_in_python_is_loaded_again(trainer: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = dg.CrystalDataModule(source=dg.sources.ExampleMetals(parts=1), batch_size=16, train_size=32)
    mine = dg.DielectricModule(
        dg.backbones.Goten(width=16),
        head=partial(dg.heads.OscillatorHead, hidden_dims=[8]),
        optimizer=partial(AdamW, lr=1e-3),
    )
    fitting = trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, default_root_dir=tmp_path, accelerator="cpu",
        num_sanity_val_steps=0, enable_model_summary=False, use_distributed_sampler=False, enable_checkpointing=False,
    )  # fmt: skip
    fitting.fit(mine, data)
    fitting.save_checkpoint(tmp_path / "mine.ckpt")
    again = dg.load(tmp_path / "mine.ckpt")
    np.testing.assert_array_equal(again.predict(SILVER).eps_inter, mine.predict(SILVER).eps_inter)
    ensemble = dg.load([tmp_path / "mine.ckpt"] * 2)
    assert isinstance(ensemble, dg.Ensemble) and ensemble.predict(SILVER).std is not None


def test_a_part_that_cannot_be_stored_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    mine = dg.DielectricModule(dg.backbones.Goten(width=8), optimizer=lambda parameters: AdamW(parameters))
    assert mine.config is None


def test_cost_of_the_public_names() -> None:
    """What the command line must not pay for: colours need colour-science only when they are computed."""
    code = "import sys, dielectric_gnn as dg; dg.load; assert 'colour' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
