"""Crystal symmetry, exactly, for random weights: what a tensor of the crystal may be, the features are."""

from functools import partial

import numpy as np
import pytest
import torch

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.models.backbones import ESCN, AtomFeatures, ClebschGordan, Goten
from dielectric_gnn.models.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.targets.irreducible import traceless_basis
from dielectric_gnn.testing import graph_of, transformed
from tests.crystals import BODY_CENTRED, CUBIC, FACE_CENTRED, UNIAXIAL, primitive, prototype

pytestmark = pytest.mark.usefixtures("float64")

EXACT = 1e-12
"""Relative to the largest scalar."""

BUILDERS = {
    "goten": partial(Goten, width=16),
    "goten-l3": partial(Goten, width=16, l_max=3),
    "escn": partial(ESCN, width=8),
    "escn-l3": partial(ESCN, width=8, l_max=3),
    "cg": partial(ClebschGordan, width=8),
    "cg-l3": partial(ClebschGordan, width=8, l_max=3),
}


@pytest.fixture(params=BUILDERS)
def backbone(request: pytest.FixtureRequest, float64: None) -> EquivariantBackbone:
    torch.manual_seed(0)
    return BUILDERS[request.param](tensors=True).eval()


def features_of(backbone: EquivariantBackbone, record: CrystalRecord) -> AtomFeatures:
    with torch.no_grad():
        features: AtomFeatures = backbone(graph_of([record], backbone.cutoff))
    return features


def tensor_of(backbone: EquivariantBackbone, record: CrystalRecord) -> torch.Tensor:
    """The average over atoms of l = 2 features, as 3 × 3 matrices (F, 3, 3), relative to the largest scalar."""
    features = features_of(backbone, record)
    assert features.tensors is not None
    matrices = torch.einsum("kf,kij->fij", features.tensors.mean(dim=0), traceless_basis())
    return matrices / features.scalars.abs().max()


def off_diagonal(tensor: torch.Tensor) -> torch.Tensor:
    return torch.stack([tensor[:, 0, 1], tensor[:, 0, 2], tensor[:, 1, 2]])


@pytest.mark.parametrize("name", CUBIC)
def test_cubic_crystals_are_isotropic(backbone: EquivariantBackbone, name: str) -> None:
    assert tensor_of(backbone, prototype(name)).abs().max() < EXACT


@pytest.mark.parametrize("name", ["A15", "C15", "B20"])
def test_atoms_of_cubic_crystals_are_not(backbone: EquivariantBackbone, name: str) -> None:
    """Without this, vanishing tensors would pass the test above."""
    tensors = features_of(backbone, prototype(name)).tensors
    assert tensors is not None and tensors.abs().max() > 1e-3


@pytest.mark.parametrize("name", UNIAXIAL)
def test_uniaxial_crystals_are_uniaxial(backbone: EquivariantBackbone, name: str) -> None:
    tensor = tensor_of(backbone, prototype(name))
    assert off_diagonal(tensor).abs().max() < EXACT
    assert (tensor[:, 0, 0] - tensor[:, 1, 1]).abs().max() < EXACT
    assert tensor[:, 2, 2].abs().max() > 1e-4


def test_forbidden_component_degrees_low_symmetry_vanish(backbone: EquivariantBackbone) -> None:
    orthorhombic = tensor_of(backbone, prototype("Pmm2"))
    assert off_diagonal(orthorhombic).abs().max() < EXACT
    assert (orthorhombic[:, 0, 0] - orthorhombic[:, 1, 1]).abs().max() > 1e-3
    xy, xz, yz = off_diagonal(tensor_of(backbone, prototype("Pm")))
    assert max(xy.abs().max(), yz.abs().max()) < EXACT
    assert xz.abs().max() > 1e-3


def test_published_so2_convolutions_break_mirror_symmetry() -> None:
    torch.manual_seed(0)
    chiral = ESCN(width=8, tensors=True, chiral=True).eval()
    chalcopyrite = tensor_of(chiral, prototype("chalcopyrite"))
    assert (chalcopyrite[:, 0, 0] - chalcopyrite[:, 1, 1]).abs().max() > 1e-6
    xy, _, yz = off_diagonal(tensor_of(chiral, prototype("Pm")))
    assert min(xy.abs().max(), yz.abs().max()) > 1e-6
    # Proper rotations forbid as much as ever.
    assert off_diagonal(chalcopyrite).abs().max() < EXACT


@pytest.mark.parametrize("name", ["Te", "B20"])
def test_mirror_images_have_equal_scalars(backbone: EquivariantBackbone, name: str) -> None:
    record = prototype(name)
    mirror = prototype("Te-mirrored") if name == "Te" else transformed(record, -np.eye(3), np.zeros(3))
    averages = [features_of(backbone, one).scalars.mean(dim=0) for one in (record, mirror)]
    assert (averages[0] - averages[1]).abs().max() < EXACT * averages[0].abs().max()


@pytest.mark.parametrize(
    ("name", "centring"),
    [("fcc", FACE_CENTRED), ("C15", FACE_CENTRED), ("chalcopyrite", BODY_CENTRED), ("I-4", BODY_CENTRED)],
)
def test_primitive_and_conventional_cells_agree(backbone: EquivariantBackbone, name: str, centring: np.ndarray) -> None:
    conventional = prototype(name)
    small = primitive(conventional, centring)
    factor = round(1 / np.linalg.det(centring))
    assert small.atomic_numbers.size * factor == conventional.atomic_numbers.size
    first, second = features_of(backbone, conventional), features_of(backbone, small)
    scale = first.scalars.abs().max()
    assert (first.scalars.mean(dim=0) - second.scalars.mean(dim=0)).abs().max() < EXACT * scale
    difference = tensor_of(backbone, conventional) - tensor_of(backbone, small)
    assert difference.abs().max() < EXACT
