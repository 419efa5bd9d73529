"""The structure kernel against its formula in NumPy, and what the composition kernel cannot tell apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.composition import descriptor_names
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.baselines import Baseline, CompositionKernel, StructureKernel
from dielectric_gnn.optics import kramers_kronig_matrix, kramers_kronig_residual
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError

NUM_TRAIN = 80
CUTOFF = 5.5


@pytest.fixture(scope="module")
def store() -> CrystalStore:
    return CrystalStore.from_records(list(ExampleMetals(parts=1).records()), CUTOFF, symmetry="orbit")


def fit(baseline: Baseline, store: CrystalStore) -> torch.Tensor:
    """Descriptors of all materials; the baseline is fitted to the first `NUM_TRAIN`."""
    assert store.eps_inter is not None and store.drude is not None
    descriptors = baseline.stored_descriptors(store, np.arange(len(store)))
    labels = Response(torch.from_numpy(store.eps_inter).float(), torch.from_numpy(store.drude))
    baseline.fit(descriptors[:NUM_TRAIN], labels.map(lambda values: values[:NUM_TRAIN]))
    assert baseline.is_consistent()
    return descriptors


def test_predictions_are_those_of_the_formula(store: CrystalStore) -> None:
    kernel = StructureKernel(gamma=0.5, structure_gamma=0.2, alpha=0.1, components=NUM_TRAIN)
    x = fit(kernel, store).double().numpy()
    exponents = np.zeros((len(x), len(x)))
    for rate, part in ((0.5, x[:, : len(descriptor_names())]), (0.2, x[:, len(descriptor_names()) :])):
        mean, std = part[:NUM_TRAIN].mean(axis=0), part[:NUM_TRAIN].std(axis=0)
        varies = std > 1e-6 * np.abs(part[:NUM_TRAIN]).max(axis=0)
        scaled = (part[:, varies] - mean[varies]) / std[varies]
        exponents += rate / varies.sum() * np.abs(scaled[:, None] - scaled[None]).sum(axis=-1)
    products = np.exp(-exponents)
    inside = products[:NUM_TRAIN, :NUM_TRAIN] + 0.1 * np.eye(NUM_TRAIN)

    def regression(values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = values.mean(axis=0)
        return mean + products[NUM_TRAIN:, :NUM_TRAIN] @ np.linalg.solve(inside, values - mean)

    assert store.drude is not None and store.eps_inter is not None
    found = kernel.predict(torch.from_numpy(x[NUM_TRAIN:]).float())
    drude = regression(store.drude[:NUM_TRAIN].astype(np.float64)).clip(min=0)
    np.testing.assert_allclose(found.drude.numpy(), drude, rtol=1e-3, atol=1e-3)
    real, imaginary = np.moveaxis(store.eps_inter[:NUM_TRAIN].astype(np.float64), -1, 0)
    matrix = kramers_kronig_matrix(EnergyGrid().energies())
    loss = regression(np.sqrt(imaginary.clip(min=0))) ** 2
    missing = regression(real - 1 - imaginary.clip(min=0) @ matrix.T)
    np.testing.assert_allclose(found.eps_inter[..., 1].numpy(), loss, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.eps_inter[..., 0].numpy(), 1 + loss @ matrix.T + missing, rtol=5e-3, atol=5e-3)


def test_predictions_absorb_light_and_are_causal(store: CrystalStore) -> None:
    """Im ε ≥ 0, a static Re ε above 1, and a Kramers-Kronig residual as small as that of the labels."""
    kernel = StructureKernel()
    x = fit(kernel, store)
    eps = torch.view_as_complex(kernel.predict(x[NUM_TRAIN:]).eps_inter).numpy()
    assert eps.imag.min() >= 0 and eps.real[:, 0].min() > 1
    assert np.median(kramers_kronig_residual(EnergyGrid().energies(), eps)) < 1e-3


def test_another_grid(store: CrystalStore) -> None:
    """Every second energy up to 10 eV: nearly the same Im, and Re consistent with it."""
    assert store.eps_inter is not None and store.drude is not None
    grid = EnergyGrid(0.0, 10.0, 501)
    full, part = StructureKernel(), StructureKernel()
    x = fit(full, store)
    part.use_grid(grid)
    cut = torch.from_numpy(store.eps_inter[:NUM_TRAIN, :1001:2]).float()
    part.fit(x[:NUM_TRAIN], Response(cut, torch.from_numpy(store.drude[:NUM_TRAIN])))
    assert part.is_consistent()
    expected, found = full.predict(x[NUM_TRAIN:]).eps_inter[:, :1001:2], part.predict(x[NUM_TRAIN:]).eps_inter
    assert (found - expected)[..., 1].abs().mean() < 0.01 * expected[..., 1].mean()
    eps = torch.view_as_complex(found).numpy()
    assert np.median(kramers_kronig_residual(grid.energies(), eps)) < 5e-3
    part.use_grid(EnergyGrid())
    assert not part.is_consistent()


def test_phases_of_one_element_differ(store: CrystalStore) -> None:
    """Face- and body-centred crystals of an element have one composition and volume."""
    phases = [store.material_ids.index(f"gpaw-{phase}-Cu") for phase in ("bcc", "fcc")]
    graph = store.gather(np.array(phases))
    for kernel, same in ((CompositionKernel(), True), (StructureKernel(), False)):
        fit(kernel, store)
        first, second = kernel(graph).drude
        assert (abs(float(first - second)) < 1e-3) == same


def test_a_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InputError, match="structure_gamma"):
        StructureKernel(structure_gamma=0.0)
    with pytest.raises(InputError, match="StructureKernel: alpha"):
        StructureKernel(alpha=-1)
