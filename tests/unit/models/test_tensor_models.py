"""Whole models that predict tensors: symmetry, positivity, loss and metrics, in float64 with random weights."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.metrics.spectral import optic_axis, tensor_metrics
from dielectric_gnn.models.backbones import ESCN, ClebschGordan, Goten, OptiMetal2B
from dielectric_gnn.models.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.models.heads import FreeFormHead, FreeFormTensorHead
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import FROM_CARTESIAN, TO_CARTESIAN, to_components, to_matrices, traceless_basis
from dielectric_gnn.targets.response import Anisotropy, Response
from dielectric_gnn.testing import crystal, graph_of, random_rotation, transformed
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective, TensorObjective
from dielectric_gnn.training.spectra import spectra_of
from dielectric_gnn.utils.errors import InputError
from tests.crystals import BODY_CENTRED, CUBIC, FACE_CENTRED, UNIAXIAL, primitive, prototype

pytestmark = pytest.mark.usefixtures("float64")

GRID = EnergyGrid(0, 20, 21)
EXACT = 1e-12
BACKBONES = {
    "goten": partial(Goten, width=16),
    "escn": partial(ESCN, width=8),
    "cg": partial(ClebschGordan, width=8),
}


def build(backbone: EquivariantBackbone) -> DielectricModule:
    return DielectricModule(backbone, head=FreeFormTensorHead, objective=TensorObjective(), grid=GRID).eval()


@pytest.fixture(params=BACKBONES)
def model(request: pytest.FixtureRequest, float64: None) -> DielectricModule:
    torch.manual_seed(0)
    return build(BACKBONES[request.param](tensors=True))


def predict(model: DielectricModule, *records: CrystalRecord) -> Response:
    with torch.no_grad():
        response: Response = model(graph_of(records, model.cutoff))
    return response


def tensors(model: DielectricModule, record: CrystalRecord) -> np.ndarray:
    """Re ε, Im ε at all energies, and ω_D², as matrices (2 W + 1, 3, 3), each relative to its largest element."""
    (spectrum,) = spectra_of(predict(model, record), model.grid)
    assert spectrum.tensor is not None
    eps, square = spectrum.tensor.eps_inter, spectrum.tensor.drude_square[:, None]
    return to_matrices(np.hstack([part / np.abs(part).max() for part in (eps.real, eps.imag, square)]))


def off_diagonal(matrices: np.ndarray) -> np.ndarray:
    return np.abs(to_components(matrices)[3:])


@pytest.mark.parametrize("name", CUBIC)
def test_cubic_crystals_are_isotropic(model: DielectricModule, name: str) -> None:
    matrices = tensors(model, prototype(name))
    isotropic = matrices.trace(axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    assert np.abs(matrices - isotropic).max() < EXACT


@pytest.mark.parametrize("name", UNIAXIAL)
def test_uniaxial_crystals_are_uniaxial(model: DielectricModule, name: str) -> None:
    matrices = tensors(model, prototype(name))
    assert off_diagonal(matrices).max() < EXACT
    assert np.abs(matrices[:, 0, 0] - matrices[:, 1, 1]).max() < EXACT
    assert np.abs(matrices[:, 0, 0] - matrices[:, 2, 2]).max() > 1e-5


def test_forbidden_component_degrees_low_symmetry_vanish(model: DielectricModule) -> None:
    assert off_diagonal(tensors(model, prototype("Pmm2"))).max() < EXACT
    yz, xz, xy = off_diagonal(tensors(model, prototype("Pm")))
    assert max(yz.max(), xy.max()) < EXACT
    assert xz.max() > 1e-5


@pytest.mark.parametrize("improper", [False, True])
def test_tensors_turn_with_the_crystal(model: DielectricModule, improper: bool) -> None:
    record, rotation = prototype("Pm"), random_rotation(7, improper)
    turned = tensors(model, transformed(record, rotation, np.array([0.1, -3, 0.7])))
    expected = rotation @ tensors(model, record) @ rotation.T
    for block in (slice(0, GRID.num), slice(GRID.num, 2 * GRID.num), slice(2 * GRID.num, None)):
        # `tensors` divides by the largest element, which depends on the frame.
        factor = np.linalg.norm(expected[block]) / np.linalg.norm(turned[block])
        assert np.abs(expected[block] - factor * turned[block]).max() < 1e-10


@pytest.mark.parametrize("name", ["Te", "B20"])
def test_mirror_images_have_equal_averages(model: DielectricModule, name: str) -> None:
    record = prototype(name)
    mirror = prototype("Te-mirrored") if name == "Te" else transformed(record, -np.eye(3), np.zeros(3))
    one, other = predict(model, record), predict(model, mirror)
    torch.testing.assert_close(one.eps_inter, other.eps_inter, rtol=0, atol=EXACT * float(one.eps_inter.abs().max()))
    torch.testing.assert_close(one.drude, other.drude, rtol=EXACT, atol=0)


@pytest.mark.parametrize(("name", "centring"), [("C15", FACE_CENTRED), ("chalcopyrite", BODY_CENTRED)])
def test_primitive_and_conventional_cells_agree(model: DielectricModule, name: str, centring: np.ndarray) -> None:
    record = prototype(name)
    assert np.abs(tensors(model, record) - tensors(model, primitive(record, centring))).max() < EXACT


def test_passive_in_every_direction(model: DielectricModule) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter, std=float(generator.uniform(0.1, 2)))
        (spectrum,) = spectra_of(predict(model, prototype("Pm")), model.grid)
        assert spectrum.tensor is not None
        for components in (spectrum.tensor.eps_inter.imag, spectrum.tensor.drude_square):
            values = np.linalg.eigvalsh(to_matrices(components))
            assert values.min() >= -EXACT * max(1, np.abs(values).max())


def test_cubic_crystals_are_passive_where_all_eigenvalues_meet(model: DielectricModule) -> None:
    (spectrum,) = spectra_of(predict(model, prototype("fcc")), model.grid)
    assert spectrum.tensor is not None
    for components in (spectrum.tensor.eps_inter.imag, spectrum.tensor.drude_square):
        assert np.linalg.eigvalsh(to_matrices(components)).min() >= -EXACT


def test_isotropic_part_is_a_third_of_the_trace(model: DielectricModule) -> None:
    response = predict(model, prototype("Pm"))
    (spectrum,) = spectra_of(response, model.grid)
    assert spectrum.tensor is not None and response.anisotropy is not None
    np.testing.assert_allclose(spectrum.tensor.eps_inter[:3].mean(axis=0), spectrum.eps_inter, atol=1e-12)
    assert spectrum.tensor.drude_square[:3].mean() == pytest.approx(spectrum.drude**2, rel=1e-12)
    average = response.anisotropy.average
    assert average is not None
    torch.testing.assert_close(average.eps_inter, response.eps_inter)
    torch.testing.assert_close(average.drude, response.drude)


ALONG_AXES = crystal("simple-cubic", np.diag([3.0, 3.0, 3.0]).tolist(), [84 - 1], [[0, 0, 0]])


@pytest.mark.parametrize("record", [prototype("fcc"), ALONG_AXES], ids=["fcc", "edges along axes"])
def test_gradients_are_finite_where_eigenvalues_meet(model: DielectricModule, record: CrystalRecord) -> None:
    model.train()
    graph = graph_of([record, record], model.cutoff)
    graph.edge_vectors.requires_grad_()
    response = model(graph)
    target = Response(
        torch.zeros_like(response.eps_inter), torch.zeros_like(response.drude), anisotropy=known(response)
    )
    loss = model.objective.per_material(response, target)["loss"].mean()
    loss.backward()
    assert loss.isfinite()
    for name, parameter in [("edges", graph.edge_vectors), *model.named_parameters()]:
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert parameter.grad.isfinite().all(), name


def known(response: Response, rows: list[list[int]] | None = None) -> Anisotropy:
    """A label of which everything, or in each row the given parts, is known: zero deviators."""
    blank = Response(response.eps_inter, response.drude).directions()
    mask = torch.zeros_like(blank.component_mask)
    for row, parts in enumerate(rows or [list(range(5))] * len(mask)):
        mask[row, parts] = True
    return Anisotropy(blank.eps_inter, blank.drude, mask)


def random_response(batch: int, seed: int) -> Response:
    generator = torch.Generator().manual_seed(seed)
    part = partial(torch.randn, generator=generator)
    root = part(batch, 6)
    drude = (root[:, 0].square() + root[:, 1:].square().sum(dim=1) / 3).sqrt()
    directions = Anisotropy(part(batch, 5, GRID.num, 2), root, torch.ones(batch, 5, dtype=torch.bool))
    return Response(part(batch, GRID.num, 2), drude, anisotropy=directions)


def rotated(response: Response, rotation: np.ndarray) -> Response:
    """The same tensors in another frame."""
    basis, matrix = traceless_basis(), torch.from_numpy(rotation)
    turn = torch.einsum("kij,ia,jb,lab->kl", basis, matrix, matrix, basis)
    assert response.anisotropy is not None
    eps = torch.einsum("kl,blwc->bkwc", turn, response.anisotropy.eps_inter)
    root = response.anisotropy.drude
    root = torch.cat([root[:, :1], root[:, 1:] @ turn.T], dim=1)
    return Response(
        response.eps_inter, response.drude, anisotropy=Anisotropy(eps, root, response.anisotropy.component_mask)
    )


def test_loss_and_metrics_do_not_depend_on_the_frame() -> None:
    prediction, target = random_response(3, 0), random_response(3, 1)
    rotation = random_rotation(4)
    objective = TensorObjective(2.0, 3.0)
    one = objective.per_material(prediction, target) | tensor_metrics(prediction, target)
    turned = rotated(prediction, rotation), rotated(target, rotation)
    other = objective.per_material(*turned) | tensor_metrics(*turned)
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], equal_nan=True)


def test_loss_is_the_norm_of_the_matrices() -> None:
    prediction, target = random_response(3, 0), random_response(3, 1)
    assert prediction.anisotropy is not None and target.anisotropy is not None

    def matrices(response: Response) -> np.ndarray:
        parts = torch.cat([response.eps_inter[:, None], response.directions().eps_inter], dim=1)
        return to_matrices(np.einsum("vk,bkwc->vbwc", TO_CARTESIAN, parts.numpy()))

    eps = np.linalg.norm(matrices(prediction) - matrices(target), axis=(-2, -1)).mean(axis=(1, 2)) / np.sqrt(3)
    roots = [to_matrices(TO_CARTESIAN @ response.directions().drude.numpy().T) for response in (prediction, target)]
    drude = np.linalg.norm(roots[0] - roots[1], axis=(-2, -1)) / np.sqrt(3)
    terms = TensorObjective(2.0, 3.0).per_material(prediction, target)
    np.testing.assert_allclose(terms["loss"].numpy(), 2 * eps + 3 * drude, rtol=1e-9)
    metrics = tensor_metrics(prediction, target)
    np.testing.assert_allclose(metrics["tensor_error"].numpy(), eps, rtol=1e-9)
    np.testing.assert_allclose(metrics["drude_tensor_error"].numpy(), drude, rtol=1e-9)


def test_loss_of_isotropic_tensors_is_the_published_one() -> None:
    def isotropic(seed: int) -> Response:
        response = random_response(3, seed)
        plain = Response(response.eps_inter, response.drude)
        return Response(plain.eps_inter, plain.drude, anisotropy=known(plain))

    prediction, target = isotropic(0), isotropic(1)
    tensor = TensorObjective().per_material(prediction, target)["loss"]
    torch.testing.assert_close(tensor, MaeObjective().per_material(prediction, target)["loss"], rtol=1e-6, atol=1e-6)


def test_averages_train_the_isotropic_part_alone(model: DielectricModule) -> None:
    graph = graph_of([prototype("Pm"), prototype("hcp")], model.cutoff)
    model.train()
    response = model(graph)
    target = Response(response.eps_inter.detach() + 1, response.drude.detach() + 1)
    model.objective.per_material(response, target)["loss"].mean().backward()
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any()) != ("deviator" in name), name


def test_unknown_components_do_not_count() -> None:
    prediction, target = random_response(3, 0), random_response(3, 1)
    rows: list[list[int]] = [[], [2, 4], [0, 1, 2, 3, 4]]
    assert target.anisotropy is not None
    mask = known(target, rows).component_mask
    partly = Response(
        target.eps_inter,
        target.drude,
        anisotropy=Anisotropy(target.anisotropy.eps_inter, target.anisotropy.drude, mask),
    )
    terms = TensorObjective().per_material(prediction, partly)
    isotropic = (prediction.eps_inter - target.eps_inter).square()
    deviator = (prediction.directions().eps_inter - target.anisotropy.eps_inter).square()
    for row, parts in enumerate(rows):
        expected = (isotropic[row] + deviator[row, parts].sum(dim=0) / 3).sqrt().mean()
        torch.testing.assert_close(terms["eps"][row], expected)
    torch.testing.assert_close(terms["drude"][0], (prediction.drude - target.drude).abs()[0])
    roots = [TO_CARTESIAN @ response.directions().drude[1].numpy() for response in (prediction, target)]
    one, other = (np.sqrt(np.diag(to_matrices(root) @ to_matrices(root))) for root in roots)
    assert float(terms["drude"][1]) == pytest.approx(np.sqrt(np.mean((one - other) ** 2)), rel=1e-9)
    metrics = tensor_metrics(prediction, partly)
    assert metrics["tensor_error"].isnan().tolist() == [True, True, False]


def drude_term(root: list[float], label: list[float], parts: list[int]) -> float:
    """Of a predicted R and one that a label tells in the given parts, both as six Cartesian components."""
    whole = list(range(5))
    responses = []
    for components, told in ((root, whole), (label, parts)):
        drude = torch.from_numpy(FROM_CARTESIAN @ components)[None]
        plain = Response(torch.zeros(1, GRID.num, 2), (drude[:, 0].square() + drude[:, 1:].square().sum() / 3).sqrt())
        blank = known(plain, [told])
        responses.append(replace(plain, anisotropy=replace(blank, drude=drude)))
    return float(TensorObjective().per_material(*responses)["drude"])


def test_known_diagonal_of_the_drude_tensor_counts_axis_by_axis() -> None:
    label = [1.0, 1.0, 5.0, 0.0, 0.0, 0.0]
    assert drude_term(label, label, [2, 4]) < 2e-6
    assert drude_term([5, 1, 1, 0, 0, 0], label, [2, 4]) == pytest.approx(np.sqrt(32 / 3))
    assert drude_term([3, 3, 3, 0, 0, 0], label, [2, 4]) == pytest.approx(2)
    # Off-diagonals are not told: R below has (R²)_xx = 1 = 0.8² + 0.6².
    assert drude_term([0.8, -0.8, 5, 0, 0, 0.6], label, [2, 4]) == pytest.approx(0, abs=2e-6)
    assert drude_term([3, 3, 3, 0, 0, 0], label, [0, 1, 2, 3, 4]) == pytest.approx(2)


@pytest.mark.parametrize(("parts", "reached"), [([], False), ([2, 4], True), ([0, 1, 2, 3, 4], True)])
def test_averages_alone_do_not_reach_the_deviator_of_the_drude_tensor(
    model: DielectricModule, parts: list[int], reached: bool
) -> None:
    model.train()
    response = model(graph_of([prototype("Pm"), prototype("hcp")], model.cutoff))
    target = Response(torch.zeros_like(response.eps_inter), torch.ones_like(response.drude))
    target = replace(target, anisotropy=known(target, [parts, parts]))
    model.objective.per_material(response, target)["drude"].mean().backward()
    gradients = [parameter.grad for parameter in model.head.drude_deviator.parameters()]
    assert any(gradient is not None and bool(gradient.any()) for gradient in gradients) == reached
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def uniaxial(axis: np.ndarray, profile: torch.Tensor) -> torch.Tensor:
    """Deviators (1, 5, W, 2) of b(ω) (n nᵀ − 1 / 3)."""
    matrix = torch.from_numpy(np.outer(axis, axis) - np.eye(3) / 3)
    return torch.einsum("kij,ij,wc->kwc", traceless_basis(), matrix, profile)[None]


def test_optic_axis_is_found_and_undefined_where_there_is_none() -> None:
    profile = torch.linspace(-2, 1, 2 * GRID.num).view(GRID.num, 2)
    axis = random_rotation(2)[0]
    found = optic_axis(uniaxial(axis, profile), uniaxial=True)[0].numpy()
    assert abs(found @ axis) == pytest.approx(1, abs=1e-12)
    assert optic_axis(torch.zeros(1, 5, GRID.num, 2)).isnan().all()
    biaxial = uniaxial(axis, profile) + 0.5 * uniaxial(random_rotation(2)[1], profile)
    assert optic_axis(biaxial, uniaxial=True).isnan().all() and not optic_axis(biaxial).isnan().any()
    turned = random_rotation(2) @ np.array([np.cos(0.3), np.sin(0.3), 0])
    angle = np.degrees(np.arccos(abs(axis @ turned)))
    blank = torch.zeros(1, GRID.num, 2), torch.zeros(1)
    pair = []
    for one in (turned, axis):
        directions = Anisotropy(uniaxial(one, profile), torch.zeros(1, 6), torch.ones(1, 5, dtype=torch.bool))
        pair.append(Response(*blank, anisotropy=directions))
    assert float(tensor_metrics(*pair)["axis_error"]) == pytest.approx(angle, abs=1e-6)


def test_what_does_not_fit_together_fails_when_built() -> None:
    with pytest.raises(InputError, match=r"invariant features only.*Goten, ESCN or ClebschGordan.*tensors: true"):
        DielectricModule(OptiMetal2B(width=8), head=FreeFormTensorHead, objective=TensorObjective(), grid=GRID)
    with pytest.raises(InputError, match=r"set model\.backbone\.tensors to true"):
        DielectricModule(Goten(width=8), head=FreeFormTensorHead, objective=TensorObjective(), grid=GRID)
    with pytest.raises(InputError, match=r"set tensors of the backbone to false"):
        DielectricModule(Goten(width=8, tensors=True), head=FreeFormHead, grid=GRID)
    with pytest.raises(InputError, match=r"choose TensorObjective"):
        DielectricModule(Goten(width=8, tensors=True), head=FreeFormTensorHead, grid=GRID)
    with pytest.raises(InputError, match=r"choose MaeObjective"):
        DielectricModule(Goten(width=8), objective=TensorObjective(), grid=GRID)


def test_state_dict_holds_parameters_only() -> None:
    """And the running statistics of batch norm, which are learned too."""
    for name, make in BACKBONES.items():
        model = build(make(tensors=True))
        learned = {key for key, _ in model.named_parameters()}
        extra = {key.rsplit(".", 1)[1] for key in set(model.state_dict()) - learned}
        assert extra <= {"running_mean", "running_var", "num_batches_tracked"}, name
        assert learned <= set(model.state_dict())
