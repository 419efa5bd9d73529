"""The embedding of the fidelity: what it changes, what trains it, and that models without it are what they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dielectric_gnn.data.checks import check_fidelities
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.models.baselines import CompositionKernel, MeanSpectrum
from dielectric_gnn.models.heads import LowRankHead
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
    for refused in (model(None), DielectricModule(MeanSpectrum())):
        with pytest.raises(InputError, match=r"model\.fidelities to 2"):
            check_fidelities(2, refused)
    with pytest.raises(InputError, match="fidelities"):
        model(1)
    with pytest.raises(InputError, match=r"prior.*fidelities"):
        model(2, prior=CompositionKernel(), head=LowRankHead)
