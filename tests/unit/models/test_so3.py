"""Spherical harmonics, edge frames and Wigner matrices against e3nn and against what defines them."""

import pytest
import torch
from e3nn import o3

from dielectric_gnn.models.layers.so3 import coupling, spherical_harmonics
from dielectric_gnn.models.layers.wigner import WignerD, edge_frames
from dielectric_gnn.targets.irreducible import traceless_basis
from dielectric_gnn.utils.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")

POLES = torch.cat([torch.eye(3), -torch.eye(3)]).double()


def directions(count: int = 50) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.cat([torch.nn.functional.normalize(torch.randn(count, 3)), POLES])


@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_harmonics_equal_e3nn(l_max: int) -> None:
    expected = o3.spherical_harmonics(list(range(l_max + 1)), directions(), False, normalization="component")
    torch.testing.assert_close(spherical_harmonics(directions(), l_max), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("l_max", [-1, 4])
def test_other_degrees_are_refused(l_max: int) -> None:
    with pytest.raises(InputError, match=f"l_max is {l_max}, expected 0 to 3"):
        spherical_harmonics(directions(), l_max)
    with pytest.raises(InputError, match=f"l_max is {l_max}, expected 1 to 3"):
        WignerD(l_max)


@pytest.mark.parametrize("l_max", [1, 2, 3])
def test_wigner_matrices_equal_e3nn(l_max: int) -> None:
    rotations = o3.rand_matrix(20, dtype=torch.float64)
    expected = o3.Irreps.spherical_harmonics(l_max).D_from_matrix(rotations)
    torch.testing.assert_close(WignerD(l_max)(rotations), expected, rtol=0, atol=1e-12)


def test_wigner_matrices_compose_and_turn_harmonics() -> None:
    wigner, first, second = WignerD(3), o3.rand_matrix(20, dtype=torch.float64), o3.rand_matrix(20, dtype=torch.float64)
    torch.testing.assert_close(wigner(first @ second), wigner(first) @ wigner(second), rtol=0, atol=1e-13)
    vectors = directions(14)
    turned = (first @ vectors[:, :, None])[:, :, 0]
    expected = (wigner(first) @ spherical_harmonics(vectors, 3)[:, :, None])[:, :, 0]
    torch.testing.assert_close(spherical_harmonics(turned, 3), expected, rtol=0, atol=1e-13)


def test_frames_turn_edges_onto_the_polar_axis() -> None:
    frames = edge_frames(directions())
    unit = torch.eye(3).expand_as(frames)
    torch.testing.assert_close(frames @ frames.mT, unit, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(len(frames)), rtol=0, atol=1e-14)
    polar = (frames @ directions()[:, :, None])[:, :, 0]
    torch.testing.assert_close(polar, unit[:, 1], rtol=0, atol=1e-14)


def test_harmonics_in_the_frame_have_m_zero_only() -> None:
    turned = (WignerD(3)(edge_frames(directions())) @ spherical_harmonics(directions(), 3)[:, :, None])[:, :, 0]
    expected = torch.zeros(16)
    expected[[0, 2, 6, 12]] = torch.tensor([1.0, 3.0, 5.0, 7.0]).sqrt()
    torch.testing.assert_close(turned, expected.expand_as(turned), rtol=0, atol=1e-13)


def test_gradients_are_finite_and_right_at_the_poles() -> None:
    # Slightly off the poles too, but not so that finite differences step over a tie of the helper axis.
    off = torch.nn.functional.normalize(POLES + torch.tensor([0.02, 0.01, -0.03]))
    probes = torch.randn(16, 16), torch.randn(16)

    def probed(vectors: torch.Tensor) -> torch.Tensor:
        units = torch.nn.functional.normalize(vectors)
        matrices = WignerD(3)(edge_frames(units))
        return (matrices * probes[0]).sum(dim=(1, 2)) + (spherical_harmonics(units, 3) * probes[1]).sum(dim=1)

    assert torch.autograd.gradcheck(probed, off.clone().requires_grad_())
    poles = POLES.clone().requires_grad_()
    probed(poles).sum().backward()
    assert poles.grad is not None and poles.grad.isfinite().all() and poles.grad.abs().max() < 1000


def test_traceless_basis_is_the_coupling_of_two_vectors() -> None:
    basis = traceless_basis()
    torch.testing.assert_close(basis, coupling(1, 1, 2).permute(2, 0, 1), rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.einsum("kij,lij->kl", basis, basis), torch.eye(5), rtol=0, atol=1e-14)
    vector = directions()[0]
    matrix = torch.einsum("k,kij->ij", spherical_harmonics(vector[None], 2)[0, 4:], basis)
    expected = (torch.outer(vector, vector) - torch.eye(3) / 3) * (15 / 2) ** 0.5
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-14)


def test_harmonics_of_no_edge() -> None:
    assert spherical_harmonics(torch.zeros(0, 3), 3).shape == (0, 16)
    assert WignerD(3)(edge_frames(torch.zeros(0, 3))).shape == (0, 16, 16)
