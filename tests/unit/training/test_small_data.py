"""What helps on small training sets: norms, element properties, composition features, low-rank head and prior."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.models.backbones import ClebschGordan, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.baselines import CompositionKernel, StructureKernel
from dielectric_gnn.models.heads import FreeFormHead, LowRankHead, OscillatorHead
from dielectric_gnn.models.layers.embedding import ElementProperties
from dielectric_gnn.models.layers.mlp import MLP, set_norm
from dielectric_gnn.optics import kramers_kronig_residual
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.baseline_module import fitted_to, training_labels
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective
from dielectric_gnn.training.trainer import Trainer
from dielectric_gnn.utils.errors import InputError

BACKBONES = {
    "2b": partial(OptiMetal2B, 8, node_embedding=ElementProperties),
    "3b": partial(OptiMetal3B, 8, node_embedding=ElementProperties),
    "optimate": OptiMate,
    "cg": partial(ClebschGordan, width=8, l_max=1, node_embedding=ElementProperties),
}
SMALL_DATA: dict[str, Any] = {"head": partial(LowRankHead, components=6), "norm": "layer", "composition": True}
TRAIN = np.arange(60)
pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|is not empty).*")


@pytest.fixture(scope="module")
def store(metals: list[CrystalRecord]) -> CrystalStore:
    return CrystalStore.from_records(metals, 5.5)


@pytest.fixture(scope="module")
def orbit_store(metals: list[CrystalRecord]) -> CrystalStore:
    return CrystalStore.from_records(metals, 5.5, symmetry="orbit")


def prepared(store: CrystalStore, model: DielectricModule, rows: NDArray[np.int64] = TRAIN) -> DielectricModule:
    model.prepare(store, rows, training_statistics(store, rows))
    return model


def close(one: Response, other: Response, **tolerance: float) -> None:
    torch.testing.assert_close(one.eps_inter, other.eps_inter, **tolerance)
    torch.testing.assert_close(one.drude, other.drude, **tolerance)


@pytest.mark.parametrize("norm", ["layer", "none"])
@pytest.mark.parametrize("name", ["2b", "3b"])
def test_other_norms_are_the_same_in_both_forms(name: str, norm: Any, store: CrystalStore) -> None:
    graph = store.gather(range(8))
    results = []
    for fused in ("auto", "off"):
        torch.manual_seed(0)
        model = DielectricModule(BACKBONES[name](fused=fused), norm=norm).double().train()
        response = model(graph.to(torch.float64))
        response.eps_inter.square().mean().backward()  # type: ignore[no-untyped-call]
        results.append((response, {key: value.grad for key, value in model.named_parameters()}))
    close(results[0][0], results[1][0], rtol=1e-9, atol=1e-10)
    for key, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][key], rtol=1e-7, atol=1e-10)


def test_a_material_does_not_depend_on_its_batch_with_layer_norm(store: CrystalStore) -> None:
    model = prepared(store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA)).train()
    torch.nn.init.normal_(model.head.spectrum_mlp.last.weight, std=0.1)
    together, alone = model(store.gather(range(12))), model(store.gather([3]))
    torch.testing.assert_close(together.eps_inter[3], alone.eps_inter[0], rtol=1e-4, atol=1e-4)
    assert not any(isinstance(part, torch.nn.BatchNorm1d) for part in model.modules())


def test_unknown_norms_are_refused() -> None:
    with pytest.raises(InputError, match="norm is 'group', expected one of batch, layer, none"):
        set_norm(MLP([2, 3, 1]), "group")  # type: ignore[arg-type]


def test_similar_elements_have_similar_properties() -> None:
    features = ElementProperties(group_period=False)(torch.tensor([37, 19, 26]))  # Rb, K, Fe
    assert (features[0] - features[1]).norm() < 0.5 * (features[0] - features[2]).norm()
    assert ElementProperties().dim == features.shape[1] + 24


@pytest.mark.parametrize("name", BACKBONES)
def test_orbit_graphs_give_the_same(name: str, store: CrystalStore, orbit_store: CrystalStore) -> None:
    torch.manual_seed(0)
    model = prepared(store, DielectricModule(BACKBONES[name](), **SMALL_DATA, prior=CompositionKernel())).eval()
    torch.nn.init.normal_(model.head.spectrum_mlp.last.weight, std=0.1)
    graphs = store.gather(range(60, 80)), orbit_store.gather(range(60, 80))
    if not model.supports_orbits:
        return
    close(model(graphs[0]), model(graphs[1]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_untrained_low_rank_model_predicts_the_training_mean(name: str, store: CrystalStore) -> None:
    model = prepared(store, DielectricModule(BACKBONES[name](), **SMALL_DATA)).eval()
    response = model(store.gather([70, 80]))
    mean_eps, mean_drude = training_statistics(store, TRAIN).means()
    torch.testing.assert_close(response.eps_inter, mean_eps.float().expand(2, -1, -1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(response.drude, mean_drude.float().expand(2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_pair_features_are_the_same_on_orbit_graphs(name: str, store: CrystalStore, orbit_store: CrystalStore) -> None:
    torch.manual_seed(0)
    model = prepared(store, DielectricModule(BACKBONES[name](), norm="layer", pair_features=True)).eval()
    if model.supports_orbits:
        close(model(store.gather(range(60, 80))), model(orbit_store.gather(range(60, 80))), rtol=1e-4, atol=1e-3)


def test_pair_features_are_an_mlp_of_clipped_standardised_descriptors(store: CrystalStore) -> None:
    """They add what NumPy computes from the descriptors of the structure kernel."""
    torch.manual_seed(0)
    model = prepared(store, DielectricModule(BACKBONES["2b"](), norm="none", pair_features=True)).eval()
    graph = store.gather(range(60, 70))
    kernel = StructureKernel()
    inside = kernel.stored_descriptors(store, TRAIN).double().numpy()
    varies = inside.std(axis=0) > 1e-6 * np.abs(inside).max(axis=0)
    x = np.where(varies, (kernel.descriptors(graph).numpy() - inside.mean(axis=0)) / inside.std(axis=0), 0.0)
    assert np.abs(x).max() > 5
    first, last = (model.pair_features.mlp.layers[place] for place in (0, 3))
    hidden = np.clip(x, -5, 5) @ first.weight.detach().numpy().T + first.bias.detach().numpy()
    expected = hidden.clip(min=0) @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    np.testing.assert_allclose(model.pair_features(graph).detach().numpy(), expected, rtol=1e-3, atol=1e-3)

    def pooled(module: DielectricModule) -> torch.Tensor:
        found: list[torch.Tensor] = []
        handle = module.head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        module(graph)
        handle.remove()
        return found[0]

    together = pooled(model)
    model.pair_features = None
    torch.testing.assert_close(together - pooled(model), torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-3)


def test_directions_are_principal_components(store: CrystalStore) -> None:
    """The directions are those of NumPy's SVD, and as many as the explained variance requires."""
    head = LowRankHead(8, store.grid, components=12)
    labels = fitted_to(CompositionKernel(), store, TRAIN)[1]
    head.prepare_from_labels(labels)
    spectra = labels.eps_inter.flatten(1).double().numpy()
    centred = spectra - spectra.mean(axis=0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    expected = values[:12, None] * right[:12] / np.sqrt(len(TRAIN))
    products = np.abs((head.directions.double().numpy() * expected).sum(axis=1))
    np.testing.assert_allclose(products, (expected**2).sum(axis=1), rtol=1e-4)
    half = LowRankHead(8, store.grid, components=12, explained_variance=0.9)
    half.prepare_from_labels(labels)
    share = np.cumsum(values**2) / np.sum(values**2)
    kept = int(np.argmax(share >= 0.9)) + 1
    assert int(half.directions.any(dim=1).sum()) == kept < 12


def test_a_continued_model_keeps_its_directions(store: CrystalStore) -> None:
    model = prepared(store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA))
    before = model.head.directions.clone()
    prepared(store, model, np.arange(40, 90))
    assert torch.equal(model.head.directions, before)


def test_training_materials_get_priors_that_have_not_seen_their_formula(
    store: CrystalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fit out of fold is recorded; none that predicts a material has seen a material of its formula."""
    model = DielectricModule(BACKBONES["2b"](), head=partial(LowRankHead, components=4), prior=CompositionKernel())
    fits: list[set[tuple[float, ...]]] = []
    real_fit, real_predict = CompositionKernel.fit, CompositionKernel.predict
    own = {
        tuple(row): store.formulas[place]
        for place, row in enumerate(fitted_to(CompositionKernel(), store, TRAIN)[0].tolist())
    }

    def fit(kernel: CompositionKernel, descriptors: torch.Tensor, targets: Response) -> None:
        kernel.seen = {own[tuple(row)] for row in descriptors.tolist()}  # type: ignore[assignment]
        fits.append(kernel.seen)  # type: ignore[arg-type]
        real_fit(kernel, descriptors, targets)

    def predict(kernel: CompositionKernel, descriptors: torch.Tensor) -> Response:
        if len(fits) > 1:
            assert not kernel.seen & {own[tuple(row)] for row in descriptors.tolist()}  # type: ignore[operator]
        return real_predict(kernel, descriptors)

    monkeypatch.setattr(CompositionKernel, "fit", fit)
    monkeypatch.setattr(CompositionKernel, "predict", predict)
    prepared(store, model)
    assert len(fits) == 11 and len(fits[0]) == len(set(own.values()))


def test_the_prior_is_added_and_only_the_residual_is_learned(store: CrystalStore) -> None:
    model = prepared(store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA, prior=CompositionKernel()))
    kernel = CompositionKernel()
    descriptors, labels = fitted_to(CompositionKernel(), store, TRAIN)
    kernel.fit(descriptors, labels)
    graph = store.gather([70, 80, 90])
    expected, found = kernel(graph), model.eval()(graph)
    mean = model.head.mean.view(-1, 2)  # of the residuals: what an untrained head adds
    sums = expected.eps_inter + mean
    torch.testing.assert_close(found.eps_inter, sums, rtol=1e-4, atol=1e-4)
    formulas = [store.formulas[row] for row in TRAIN]
    out_of_fold = kernel.out_of_fold(descriptors, labels, formulas)
    batch = store.gather([0, 5, 59])
    in_training = model.train()(batch)
    torch.testing.assert_close(in_training.eps_inter, out_of_fold.eps_inter[[0, 5, 59]] + mean, rtol=1e-4, atol=1e-4)
    model.losses(batch).mean().backward()
    assert not any(parameter.requires_grad for parameter in model.prior.parameters())  # type: ignore[union-attr]
    gradient = model.head.spectrum_mlp.last.weight.grad
    assert gradient is not None and gradient.any()
    other = model.train()(store.gather([70]))  # not a training material
    torch.testing.assert_close(other.eps_inter[0], sums[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prior", [None, CompositionKernel, StructureKernel])
def test_causal_models_absorb_light_and_are_consistent(prior: Any, store: CrystalStore) -> None:
    """Whatever the weights are, in training and out of it."""
    torch.manual_seed(0)
    options: dict[str, Any] = SMALL_DATA | {"causal": True, "prior": None if prior is None else prior()}
    model = prepared(store, DielectricModule(BACKBONES["2b"](), **options))
    torch.nn.init.normal_(model.head.spectrum_mlp.last.weight, std=0.3)
    graph = store.gather([0, 5, 59, 70])
    for mode in (model.train(), model.eval()):
        eps = torch.view_as_complex(mode(graph).eps_inter.detach()).numpy()
        assert eps.imag.min() >= 0 and np.median(kramers_kronig_residual(store.grid.energies(), eps)) < 5e-3


def test_a_causal_prior_is_added_to_the_root_of_the_loss(store: CrystalStore) -> None:
    model = prepared(
        store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA, causal=True, prior=StructureKernel())
    ).eval()
    graph = store.gather([70, 80, 90])
    prior = model.prior.baseline(graph).eps_inter[..., 1].sqrt()  # type: ignore[union-attr]
    root = prior + model.head.mean.view(-1, 2)[:, 1]
    torch.testing.assert_close(model(graph).eps_inter[..., 1], root.square(), rtol=1e-3, atol=1e-3)
    labels = training_labels(store, TRAIN)
    kernel = StructureKernel()
    formulas = [store.formulas[row] for row in TRAIN]
    predicted = kernel.out_of_fold(kernel.stored_descriptors(store, TRAIN), labels, formulas)
    residuals = labels.eps_inter[..., 1].clamp(min=0).sqrt() - predicted.eps_inter[..., 1].sqrt()
    torch.testing.assert_close(model.head.mean.view(-1, 2)[:, 1], residuals.mean(dim=0), rtol=1e-3, atol=1e-3)


def test_an_untrained_causal_model_predicts_the_mean_root(store: CrystalStore) -> None:
    model = prepared(store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA, causal=True)).eval()
    expected = training_labels(store, TRAIN).eps_inter[..., 1].clamp(min=0).sqrt().mean(dim=0).square()
    torch.testing.assert_close(model(store.gather([70])).eps_inter[0, :, 1], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("head", [OscillatorHead, partial(FreeFormHead, components=["re"])])
def test_heads_that_cannot_be_causal_are_refused(head: Any) -> None:
    objective = None if head is OscillatorHead else MaeObjective(components=["re"])
    with pytest.raises(InputError, match=r"cannot predict what model\.causal requires"):
        DielectricModule(OptiMetal2B(8), head=head, objective=objective, causal=True)


def test_drude_frequencies_stay_positive_and_residuals_have_both_signs(store: CrystalStore) -> None:
    model = prepared(store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA, prior=CompositionKernel())).eval()
    with torch.no_grad():
        model.head.drude_mlp.last.bias.fill_(-3.0)
    low = model(store.gather([70, 80])).drude
    assert (low >= 0).all() and (low < model.prior.baseline(store.gather([70, 80])).drude).all()  # type: ignore[union-attr]


def test_the_prior_is_fitted_in_main_memory_and_goes_back_to_the_device(
    store: CrystalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU, only the order of the moves can be seen."""
    moves: list[str] = []
    real_fit = CompositionKernel.fit

    def fit(kernel: CompositionKernel, descriptors: torch.Tensor, targets: Response) -> None:
        moves.append("fit")
        real_fit(kernel, descriptors, targets)

    monkeypatch.setattr(CompositionKernel, "fit", fit)
    monkeypatch.setattr(CompositionKernel, "cpu", lambda kernel: moves.append("cpu"))
    monkeypatch.setattr(CompositionKernel, "to", lambda kernel, device: moves.append(f"to {device}"))
    prepared(store, DielectricModule(BACKBONES["2b"](), **SMALL_DATA, prior=CompositionKernel()))
    assert moves == ["cpu", *["fit"] * 11, "to cpu"]


def test_heads_without_residuals_are_refused() -> None:
    with pytest.raises(InputError, match="OscillatorHead cannot predict differences"):
        DielectricModule(OptiMetal2B(8), head=OscillatorHead, prior=CompositionKernel())


@pytest.mark.parametrize("head", [FreeFormHead, partial(LowRankHead, components=6)], ids=["free", "low_rank"])
def test_checkpoints_bring_back_the_same_predictions(head: Any, tmp_path: Any) -> None:
    data = CrystalDataModule(ExampleMetals(parts=1), train_size=20, batch_size=10)
    model = DielectricModule(
        BACKBONES["2b"](), head=head, norm="layer", composition=True, prior=CompositionKernel(components=4)
    )
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    graph = data.store.gather(range(5))
    close(load_model(tmp_path / "a.ckpt")(graph), model.eval()(graph), rtol=1e-5, atol=1e-5)
    assert labels_of(graph).drude.shape == (5,)


def test_published_models_have_no_further_parameters() -> None:
    keys = DielectricModule(OptiMetal2B(8)).state_dict().keys()
    assert not any(key.startswith(("prior", "composition")) for key in keys)
