"""Isotropic part and deviator against 3 × 3 matrices."""

import numpy as np
import pytest
import torch

from dielectric_gnn.targets.irreducible import (
    DIAGONAL_PARTS,
    FROM_CARTESIAN,
    TO_CARTESIAN,
    norm_square,
    square,
    to_components,
    to_matrices,
    traceless_basis,
)

pytestmark = pytest.mark.usefixtures("float64")


def matrices_of(isotropic: torch.Tensor, deviator: torch.Tensor) -> torch.Tensor:
    """(B, 5, W) → (B, W, 3, 3), by the definition."""
    eye = torch.eye(3, dtype=isotropic.dtype)
    return isotropic[..., None, None] * eye + torch.einsum("bkw,kij->bwij", deviator, traceless_basis())


@pytest.fixture
def parts() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 7), torch.randn(4, 5, 7)


def test_components_are_those_of_the_basis(parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    isotropic, deviator = parts
    matrices = matrices_of(isotropic, deviator).numpy()
    together = torch.cat([isotropic[:, None], deviator], dim=1).numpy()
    components = np.einsum("vk,bkw->vbw", TO_CARTESIAN, together)
    np.testing.assert_allclose(to_matrices(components), matrices, atol=1e-14)
    np.testing.assert_allclose(to_components(matrices), components, atol=1e-14)
    np.testing.assert_allclose(np.einsum("kv,vbw->bkw", FROM_CARTESIAN, components), together, atol=1e-14)
    norms = (3 * isotropic.square() + norm_square(deviator)).numpy()
    np.testing.assert_allclose(np.linalg.norm(matrices, axis=(-2, -1)) ** 2, norms)


def test_diagonal_parts_are_what_a_diagonal_tells() -> None:
    diagonals = traceless_basis().diagonal(dim1=1, dim2=2).abs().amax(dim=1)
    assert [k for k in range(5) if diagonals[k] > 0] == list(DIAGONAL_PARTS)


def test_square_is_the_matrix_product_and_positive(parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    squared = matrices_of(*square(*parts))
    matrices = matrices_of(*parts)
    torch.testing.assert_close(squared, matrices @ matrices, rtol=0, atol=1e-13)
    assert torch.linalg.eigvalsh(squared).min() >= -1e-12
    # A matrix of rank one has two zero eigenvalues, where rounding could tip the balance.
    vector = torch.randn(4, 7, 3)
    rank_one = torch.from_numpy(FROM_CARTESIAN @ to_components(torch.einsum("bwi,bwj->bwij", vector, vector).numpy())
                                .reshape(6, -1)).view(6, 4, 7)  # fmt: skip
    assert torch.linalg.eigvalsh(matrices_of(*square(rank_one[0], rank_one[1:].transpose(0, 1)))).min() >= -1e-12


def test_square_is_smooth_where_eigenvalues_meet(parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    """At a vanishing deviator, where differentiating an eigendecomposition gives NaN."""
    isotropic, deviator = parts[0][:1].requires_grad_(), torch.zeros(1, 5, 7, requires_grad=True)
    assert torch.autograd.gradcheck(square, (isotropic, deviator))
    assert torch.autograd.gradcheck(square, (isotropic, parts[1][:1].requires_grad_()))
