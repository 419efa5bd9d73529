"""The embedding of the fidelity: what it changes, what trains it, and that models without it are what they were."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from dielectric_gnn.data.checks import check_fidelities
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.models.baselines import CompositionKernel, MeanSpectrum, StructureKernel
from dielectric_gnn.models.heads import LowRankHead
from dielectric_gnn.training.baseline_module import fitted_to, training_labels
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError


def model(fidelities: int | None, **options: Any) -> DielectricModule:
    torch.manual_seed(0)
    return DielectricModule(OptiMetal2B(8), fidelities=fidelities, **options)


@pytest.fixture(scope="module")
def store(metals: list[CrystalRecord]) -> CrystalStore:
    return CrystalStore.from_records([replace(metal, fidelity=row % 3) for row, metal in enumerate(metals[:9])], 5.5)


def test_without_the_option_a_model_is_what_it_was(store: CrystalStore) -> None:
    plain, joint = model(None), model(3)
    extra = set(joint.state_dict()) - set(plain.state_dict())
    assert extra == {"fidelity.vectors"} and joint.num_parameters == plain.num_parameters + 2 * 8
    assert plain.config is not None and "fidelities" not in plain.config["model"]
    graph = store.gather(range(9))
    torch.testing.assert_close(plain.eval()(graph).eps_inter, joint.eval()(graph).eps_inter, rtol=0, atol=0)


def test_a_trained_vector_changes_its_fidelity_only(store: CrystalStore) -> None:
    joint = model(3).eval()
    graph = store.gather(range(9))
    before = joint(graph).eps_inter
    with torch.no_grad():
        joint.fidelity.vectors[1] = 1.0  # type: ignore[union-attr]
    changed = (joint(graph).eps_inter != before).flatten(1).any(dim=1)
    assert changed.tolist() == [False, False, True] * 3
    highest = joint(replace(graph, fidelities=None)).eps_inter
    torch.testing.assert_close(highest, before, rtol=0, atol=0)


@pytest.mark.parametrize(("fidelity", "trained"), [(0, [False, False]), (1, [True, False]), (2, [False, True])])
def test_gradients_reach_the_vector_of_the_fidelity_only(
    fidelity: int, trained: list[bool], store: CrystalStore
) -> None:
    joint = model(3)
    rows = np.arange(fidelity, 9, 3)
    joint.losses(store.gather(rows)).mean().backward()  # type: ignore[no-untyped-call]
    assert joint.fidelity is not None
    gradient = joint.fidelity.vectors.grad
    assert gradient is not None, "a parameter without a gradient stops distributed training"
    assert (gradient != 0).any(dim=1).tolist() == trained


def test_batches_have_the_fidelity_of_every_material(store: CrystalStore) -> None:
    rows = [5, 0, 7]
    resident = ResidentStore(store, torch.device("cpu"))
    for graph in (store.gather(rows), resident.gather(rows), store.gather(rows).to(torch.float64)):
        assert graph.fidelities is not None and graph.fidelities.tolist() == [2, 0, 1]


def test_data_of_more_fidelities_than_the_model_has_is_refused() -> None:
    check_fidelities(2, None)
    check_fidelities(2, model(3))
    check_fidelities(1, DielectricModule(MeanSpectrum()))
    check_fidelities(3, DielectricModule(CompositionKernel(fidelity_correlation=0.9)))
    for refused in (model(None), DielectricModule(MeanSpectrum())):
        with pytest.raises(InputError, match=r"model\.fidelities to 2"):
            check_fidelities(2, refused)
    with pytest.raises(InputError, match="fidelities"):
        model(1)
    with pytest.raises(InputError, match="fidelity_correlation"):
        model(2, prior=CompositionKernel(), head=LowRankHead)


@pytest.mark.parametrize("correlation", [0.6, 1.0])
def test_a_kernel_of_several_fidelities_is_that_of_the_formula(correlation: float, store: CrystalStore) -> None:
    """The kernel of the materials times ρ^|f − f'|, in NumPy; standardised descriptors are those of the model."""
    kernel = CompositionKernel(gamma=0.5, alpha=0.1, fidelity_correlation=correlation)
    train, test = np.arange(6), np.arange(6, 9)
    kernel.fit(*fitted_to(kernel, store, train))
    assert kernel.is_consistent() and store.fidelities is not None and store.drude is not None
    x = CompositionKernel().stored_descriptors(store, np.arange(9)).double().numpy()
    varies = x[train].std(axis=0) > 1e-6 * np.abs(x[train]).max(axis=0)
    x = ((x - x[train].mean(axis=0)) / np.where(varies, x[train].std(axis=0), 1.0))[:, varies]
    products = np.exp(-0.5 * np.abs(x[:, None] - x[None]).mean(axis=-1))

    def between(rows: Any, fidelities: Any) -> Any:
        difference = np.abs(fidelities[:, None] - store.fidelities[train][None])  # type: ignore[index]
        return products[np.ix_(rows, train)] * correlation**difference

    inside = between(train, store.fidelities[train]) + 0.1 * np.eye(6)
    labels = store.drude[train].astype(float)
    solution = np.linalg.solve(inside, labels - labels.mean())
    for graph, fidelities in (
        (store.gather(test), store.fidelities[test]),
        (replace(store.gather(test), fidelities=None), np.zeros(3)),
    ):
        expected = labels.mean() + between(test, fidelities) @ solution
        np.testing.assert_allclose(kernel(graph).drude, expected.clip(min=0), rtol=1e-4, atol=1e-4)


def test_a_kernel_of_one_fidelity_has_the_same_predictions_with_a_correlation(metals: list[CrystalRecord]) -> None:
    store = CrystalStore.from_records(metals[:40], 5.5)
    found = []
    for correlation in (None, 0.5):
        kernel = StructureKernel(fidelity_correlation=correlation)
        kernel.fit(*fitted_to(kernel, store, np.arange(30)))
        found.append(kernel(store.gather(range(30, 40))))
    torch.testing.assert_close(found[0].eps_inter, found[1].eps_inter, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[0].drude, found[1].drude, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, -0.5, 1.5])
def test_a_correlation_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"fidelity_correlation is .*, expected a number above 0"):
        CompositionKernel(fidelity_correlation=value)


def test_the_prior_learns_from_lower_fidelities_and_the_head_from_the_highest(store: CrystalStore) -> None:
    prior = CompositionKernel(fidelity_correlation=0.9)
    joint = model(3, prior=prior, head=partial(LowRankHead, components=2))
    rows, lower = np.array([0, 3, 6]), [np.array([1, 4]), np.array([2, 5])]
    joint.prepare(store, rows, training_statistics(store, rows), lower)
    assert len(prior.landmarks) == 7
    everything = np.concatenate([rows, *lower])
    formulas = [store.formulas[row] for row in everything]
    predicted = prior.out_of_fold(*fitted_to(prior, store, everything), formulas)
    residuals = training_labels(store, everything).eps_inter - predicted.eps_inter
    mean = residuals[:3].mean(dim=0).flatten()
    torch.testing.assert_close(joint.head.mean, mean, rtol=1e-4, atol=1e-3)  # type: ignore[arg-type]
    found = joint.train()(store.gather([1, 5])).eps_inter
    torch.testing.assert_close(found, predicted.eps_inter[[3, 6]] + mean.view(-1, 2), rtol=1e-4, atol=1e-3)
