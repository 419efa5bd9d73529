"""Reasons to doubt predictions: they fire where they must, and rarely on metals like those of the training set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.applicability import reasons_to_doubt
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.spectra import quality_of, spectra_of
from dielectric_gnn.utils.errors import InputError


@pytest.fixture(scope="module")
def everything() -> CrystalStore:
    return CrystalStore.from_records(list(ExampleMetals().records()), 5.5)


@pytest.fixture(scope="module")
def statistics(everything: CrystalStore) -> TrainingStatistics:
    return training_statistics(everything, np.arange(len(everything)))


def b2(first: str, second: str, a: float) -> Structure:
    return Structure(Lattice.cubic(a), [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])


def fluorite_or_halite(a: float, first: str, second: str, site: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [first, second], [[0, 0, 0], [site] * 3])


SUSPICIOUS = {
    "CsAu": (b2("Cs", "Au", 4.26), "may not be a metal"),
    "Mg2Sn": (fluorite_or_halite(6.76, "Sn", "Mg", 0.25), "may not be a metal"),
    "NaCl": (fluorite_or_halite(5.64, "Na", "Cl", 0.5), "elements that the training set lacks: Cl"),
    "NiAl": (b2("Ni", "Al", 10.0), "the volume is"),
    "CuZn": (b2("Cu", "Zn", 2.0), "the volume is"),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_structures_unlike_the_training_set_are_named(name: str, statistics: TrainingStatistics) -> None:
    structure, part = SUSPICIOUS[name]
    model = DielectricModule(OptiMetal2B(8))
    model.training_statistics = statistics
    spectrum = model.predict(structure)
    assert any(part in reason for reason in spectrum.warnings), spectrum.warnings


def test_few_held_out_metals_are_doubted(everything: CrystalStore) -> None:
    """With labels as predictions, few metals of formulas that were not trained on are doubted."""
    split = ExampleMetals().split()
    place = {material_id: row for row, material_id in enumerate(everything.material_ids)}
    train = np.array([place[material_id] for material_id in split["train"]])
    held_out = np.array([place[material_id] for material_id in (*split["val"], *split["test"])])
    spectra = spectra_of(labels_of(everything.gather(held_out)), everything.grid)
    rows, statistics = held_out.tolist(), training_statistics(everything, train)
    f_sums = quality_of(spectra, everything, rows)["f_sum"].tolist()
    remarks = [everything.remarks(row) for row in rows]
    reasons = reasons_to_doubt(spectra, f_sums, everything, rows, statistics, remarks)
    assert sum(bool(found) for found in reasons) <= 0.05 * len(held_out), [found for found in reasons if found]


def test_distances_are_those_of_a_loop(statistics: TrainingStatistics) -> None:
    coverage = statistics.coverage
    assert coverage is not None
    descriptors = coverage.centre + torch.linspace(-1, 1, 3)[:, None] / coverage.scale.clamp(min=1e-3)
    expected = []
    for row in descriptors:
        scaled = (row - coverage.centre) * coverage.scale
        expected.append(min(float((scaled - point).abs().sum()) for point in coverage.points))
    varying = int((coverage.scale > 0).sum())
    np.testing.assert_allclose(coverage.distances(descriptors), np.array(expected) / varying, rtol=1e-3)


def test_coverage_survives_a_checkpoint_and_damage_is_one_line(statistics: TrainingStatistics) -> None:
    plain = statistics.to_plain()
    again = TrainingStatistics.from_plain(plain)  # type: ignore[arg-type]
    assert again.coverage is not None and statistics.coverage is not None
    assert torch.equal(again.coverage.points, statistics.coverage.points)
    plain["coverage"]["centre"] = torch.zeros(3)
    with pytest.raises(InputError, match="coverage of the training set"):
        TrainingStatistics.from_plain(plain)  # type: ignore[arg-type]


def test_one_formula_has_no_coverage(metals: list[CrystalRecord]) -> None:
    store = CrystalStore.from_records([metals[0], metals[0]], 3.5)
    assert training_statistics(store, np.arange(2)).coverage is None
