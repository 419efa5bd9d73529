"""Every equivariant backbone keeps the contract, at every degree, with and without tensors."""

from collections.abc import Callable
from functools import partial

import torch

from dielectric_gnn.models.backbones import ESCN, Backbone, ClebschGordan, Goten
from dielectric_gnn.models.layers.radial import BesselBasis
from dielectric_gnn.testing import BackboneContract

GOTEN = partial(Goten, width=16, heads=4)
SMALL_ESCN = partial(ESCN, width=8)
CG = partial(ClebschGordan, width=8)

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "GotenDegree1": partial(GOTEN, l_max=1),
    "GotenDegree2": GOTEN,
    "GotenDegree2Tensors": partial(GOTEN, tensors=True),
    "GotenDegree3Tensors": partial(GOTEN, l_max=3, tensors=True),
    "GotenOneLayerBessel": partial(GOTEN, num_layers=1, edge_embedding=BesselBasis, tensors=True),
    "ESCNDegree1": partial(SMALL_ESCN, l_max=1),
    "ESCNDegree2": SMALL_ESCN,
    "ESCNDegree2Tensors": partial(SMALL_ESCN, tensors=True),
    "ESCNDegree3Tensors": partial(SMALL_ESCN, l_max=3, tensors=True),
    "ClebschGordanDegree1": partial(CG, l_max=1),
    "ClebschGordanDegree2": CG,
    "ClebschGordanDegree2Tensors": partial(CG, tensors=True),
    "ClebschGordanDegree3Tensors": partial(CG, l_max=3, tensors=True),
}

for name, build in BACKBONES.items():
    # pytest collects the classes by their names; each inherits every test of the contract.
    globals()[f"Test{name}"] = type(
        f"Test{name}", (BackboneContract,), {"make_backbone": lambda self, build=build: build()}
    )


class TestESCNChiral(BackboneContract):
    """The published form is equivariant under proper rotations only, so only these are tested.

    `tests/unit/models/test_equivariant_symmetry.py` shows which symmetry it breaks.
    """

    def make_backbone(self) -> Backbone:
        return SMALL_ESCN(tensors=True, chiral=True)

    def test_invariant_under_rotation_and_translation(  # type: ignore[override]
        self, backbone: Backbone, dtype: torch.dtype
    ) -> None:
        super().test_invariant_under_rotation_and_translation(backbone, dtype, improper=False)
