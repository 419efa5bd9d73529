"""The baselines against closed forms in NumPy, and their behaviour at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.composition import stored_descriptors
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.splits import grouped_folds
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.baselines import Baseline, CompositionKernel, MeanSpectrum, NearestMaterial
from dielectric_gnn.models.baselines.principal_components import PrincipalComponents
from dielectric_gnn.models.layers.fitted import take_shapes
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError

NUM_TRAIN = 80
BASELINES = [MeanSpectrum, NearestMaterial, CompositionKernel]


@pytest.fixture(scope="module")
def store() -> CrystalStore:
    return CrystalStore.from_records(list(ExampleMetals().records()), 3.0)


@pytest.fixture(scope="module")
def data(store: CrystalStore) -> tuple[torch.Tensor, Response]:
    assert store.eps_inter is not None and store.drude is not None
    labels = Response(torch.from_numpy(store.eps_inter), torch.from_numpy(store.drude))
    return stored_descriptors(store, np.arange(len(store))), labels


def some(labels: Response, rows: slice) -> Response:
    return labels.map(lambda values: values[rows])


def fitted(baseline: Baseline, data: tuple[torch.Tensor, Response]) -> Response:
    """Predictions for the materials after the first `NUM_TRAIN`, to which the baseline is fitted."""
    descriptors, labels = data
    baseline.fit(descriptors[:NUM_TRAIN], some(labels, slice(NUM_TRAIN)))
    assert baseline.is_consistent()
    return baseline.predict(descriptors[NUM_TRAIN:])


def kernel_ridge(x: NDArray[np.float64], y: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Laplacian kernel ridge regression of centred targets with γ = 0.3 / F and α = 0.03."""
    mean, std = x.mean(axis=0), x.std(axis=0)
    varies = std > 1e-6 * np.abs(x).max(axis=0)
    x, new = ((values[:, varies] - mean[varies]) / std[varies] for values in (x, new))

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-0.3 / varies.sum() * np.abs(a[:, None] - b[None]).sum(axis=-1))

    coefficients = np.linalg.solve(kernel(x, x) + 0.03 * np.eye(len(x)), y - y.mean(axis=0))
    return y.mean(axis=0) + kernel(new, x) @ coefficients


def test_kernel_is_ridge_regression_of_the_labels(data: tuple[torch.Tensor, Response]) -> None:
    descriptors, labels = data
    found = fitted(CompositionKernel(components=NUM_TRAIN), data)
    x, y = descriptors.double().numpy(), labels.eps_inter.double().flatten(1).numpy()
    expected = kernel_ridge(x[:NUM_TRAIN], y[:NUM_TRAIN], x[NUM_TRAIN:])
    np.testing.assert_allclose(found.eps_inter.flatten(1).numpy(), expected, rtol=1e-3, atol=2e-3)
    drude = labels.drude.double().numpy()[:, None]
    expected = kernel_ridge(x[:NUM_TRAIN], drude[:NUM_TRAIN], x[NUM_TRAIN:])
    np.testing.assert_allclose(found.drude.numpy()[:, None], expected.clip(min=0), rtol=1e-4, atol=1e-4)


def test_few_components_are_the_projection_of_all(data: tuple[torch.Tensor, Response]) -> None:
    _, labels = data
    everything, few = (fitted(CompositionKernel(components=num), data).eps_inter for num in (NUM_TRAIN, 4))
    im = labels.eps_inter[:NUM_TRAIN, :, 1].double().numpy()
    _, _, directions = np.linalg.svd(im - im.mean(axis=0), full_matrices=False)
    projected = (everything[..., 1].numpy() - im.mean(axis=0)) @ directions[:4].T @ directions[:4] + im.mean(axis=0)
    np.testing.assert_allclose(few[..., 1].numpy(), projected, atol=2e-3)


def test_landmarks_approximate_the_exact_solution(data: tuple[torch.Tensor, Response]) -> None:
    exact, near, far = (fitted(CompositionKernel(max_landmarks=num), data).drude for num in (NUM_TRAIN, 76, 20))
    assert (near - exact).abs().mean() < 0.5 * (far - exact).abs().mean() < 1.0
    assert (near - exact).abs().max() > 0


def test_equal_landmarks_are_no_problem(data: tuple[torch.Tensor, Response]) -> None:
    descriptors, labels = data
    twice = torch.cat([descriptors, descriptors])
    kernel = CompositionKernel(max_landmarks=len(twice) - 1)  # every material is among the landmarks
    kernel.fit(twice, labels.map(lambda values: torch.cat([values, values])))
    once = CompositionKernel(alpha=0.015)  # two equal observations are one with half the noise
    once.fit(descriptors, labels)
    torch.testing.assert_close(kernel.predict(descriptors).drude, once.predict(descriptors).drude, atol=1e-3, rtol=0)


def test_mean_and_nearest(data: tuple[torch.Tensor, Response]) -> None:
    descriptors, labels = data
    train = some(labels, slice(NUM_TRAIN))
    mean = fitted(MeanSpectrum(), data)
    torch.testing.assert_close(mean.eps_inter[3], train.eps_inter.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mean.drude[3], train.drude.mean())
    x = descriptors.double().numpy()
    scale = x[:NUM_TRAIN].std(axis=0)
    varies = scale > 1e-6 * np.abs(x[:NUM_TRAIN]).max(axis=0)
    differences = x[NUM_TRAIN:, None, varies] - x[None, :NUM_TRAIN, varies]
    nearest = np.abs(differences / scale[varies]).sum(axis=-1).argmin(axis=1)
    found = fitted(NearestMaterial(), data)
    assert torch.equal(found.drude, train.drude[nearest]) and torch.equal(found.eps_inter, train.eps_inter[nearest])


@pytest.mark.parametrize("kind", BASELINES)
def test_each_part_is_fitted_on_the_materials_that_have_it(
    kind: type[Baseline], data: tuple[torch.Tensor, Response]
) -> None:
    descriptors, labels = data
    eps, drude = labels.eps_inter.clone(), labels.drude.clone()
    eps[:10, :, 0], drude[10:30] = torch.nan, torch.nan
    found = fitted(kind(), (descriptors, Response(eps, drude)))
    without = kind()
    without.fit(descriptors[10:NUM_TRAIN], some(labels, slice(10, NUM_TRAIN)))
    assert found.eps_inter.isfinite().all() and found.drude.isfinite().all()
    if kind is MeanSpectrum:  # the others standardise by descriptors of all materials
        torch.testing.assert_close(found.eps_inter[..., 0], without.predict(descriptors[NUM_TRAIN:]).eps_inter[..., 0])
    eps[:NUM_TRAIN, :, 0] = torch.nan
    none = fitted(kind(), (descriptors, Response(eps, drude)))
    assert none.eps_inter[..., 0].isnan().all() and none.eps_inter[..., 1].isfinite().all()


@pytest.mark.parametrize("kind", BASELINES)
def test_state_is_restored_with_its_shapes(kind: type[Baseline], data: tuple[torch.Tensor, Response]) -> None:
    baseline, other = kind(), kind()
    expected = fitted(baseline, data)
    state = baseline.state_dict()
    take_shapes(other, state)
    assert {key: value.shape for key, value in other.state_dict().items()} == {k: v.shape for k, v in state.items()}
    other = kind()
    other.load_state_dict(state)
    found = other.predict(data[0][NUM_TRAIN:])
    assert torch.equal(found.eps_inter, expected.eps_inter) and torch.equal(found.drude, expected.drude)


def test_mixed_precision_changes_nothing(data: tuple[torch.Tensor, Response]) -> None:
    kernel = CompositionKernel()
    expected = fitted(kernel, data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kernel.predict(data[0][NUM_TRAIN:])
    assert torch.equal(found.eps_inter, expected.eps_inter) and torch.equal(found.drude, expected.drude)


def test_drude_frequencies_are_not_negative(data: tuple[torch.Tensor, Response]) -> None:
    descriptors, labels = data
    found = fitted(CompositionKernel(alpha=1e-6), (descriptors, Response(labels.eps_inter, labels.drude - 6)))
    assert found.drude.min() == 0


def test_predictions_out_of_fold_do_not_depend_on_the_labels_of_the_group(
    store: CrystalStore, data: tuple[torch.Tensor, Response]
) -> None:
    descriptors, labels = data
    formulas = list(store.formulas)
    before = CompositionKernel().out_of_fold(descriptors, labels, formulas, folds=4)
    group = torch.tensor([formula == formulas[0] for formula in formulas])
    changed = Response(labels.eps_inter + 5 * group[:, None, None], labels.drude + 5 * group)
    after = CompositionKernel().out_of_fold(descriptors, changed, formulas, folds=4)
    assert torch.equal(before.drude[group], after.drude[group])
    assert torch.equal(before.eps_inter[group], after.eps_inter[group])
    assert not torch.equal(before.drude[~group], after.drude[~group])


def test_no_group_is_in_two_folds() -> None:
    groups = [f"g{number % 17}" for number in range(60)]
    folds = grouped_folds(groups, 5, seed=3)
    assert len({(group, fold) for group, fold in zip(groups, folds.tolist(), strict=True)}) == 17
    sizes = [len({group for group, fold in zip(groups, folds, strict=True) if fold == one}) for one in range(5)]
    assert sorted(sizes) == [3, 3, 3, 4, 4]
    assert not np.array_equal(folds, grouped_folds(groups, 5, seed=4))
    with pytest.raises(InputError, match="folds"):
        grouped_folds(groups, 18)


def test_components_of_few_vectors() -> None:
    components = PrincipalComponents(15)
    values = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    scores = components.fit(values)
    assert components.num == 3  # four points span three directions
    torch.testing.assert_close(components(scores.float()), values, rtol=1e-4, atol=1e-5)
    assert components.fit(values[:1]).shape == (1, 0)
    assert PrincipalComponents(15).fit(values[:0]).shape == (0, 0)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="alpha"):
        CompositionKernel(alpha=0)
