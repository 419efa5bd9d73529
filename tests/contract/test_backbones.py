"""Every shipped backbone keeps the contract, with every option of its parts."""

from collections.abc import Callable
from functools import partial

from dielectric_gnn.models.backbones import Backbone, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.layers.embedding import AtomEmbedding
from dielectric_gnn.models.layers.message_passing import CGConv, ResidualGATv2, TransformerConv
from dielectric_gnn.models.layers.radial import BesselBasis, GaussianBasis
from dielectric_gnn.testing import BackboneContract

SMALL_2B = partial(OptiMetal2B, width=16)
SMALL_3B = partial(OptiMetal3B, width=16)

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "OptiMate": OptiMate,
    "OptiMetal2B": SMALL_2B,
    "OptiMetal2BTransformer": partial(SMALL_2B, message_passing=TransformerConv),
    "OptiMetal2BGATv2": partial(SMALL_2B, message_passing=partial(ResidualGATv2, heads=4)),
    "OptiMetal2BAtoms": partial(SMALL_2B, node_embedding=AtomEmbedding),
    "OptiMetal2BBessel": partial(SMALL_2B, edge_embedding=BesselBasis),
    "OptiMetal2BTrainableBessel": partial(
        SMALL_2B, edge_embedding=partial(BesselBasis, trainable=True, envelope_exponent=None)
    ),
    "OptiMetal2BNoEnvelope": partial(SMALL_2B, edge_embedding=partial(GaussianBasis, envelope_exponent=None)),
    "OptiMetal3B": SMALL_3B,
    "OptiMetal3BCGConv": partial(SMALL_3B, message_passing=CGConv),
    "OptiMetal3BGATv2": partial(SMALL_3B, message_passing=ResidualGATv2),
    "OptiMetal3BDegree1": partial(SMALL_3B, l_max=1),
    "OptiMetal3BDegree2": partial(SMALL_3B, l_max=2),
    "OptiMetal3BDegree4": partial(SMALL_3B, l_max=4, node_embedding=AtomEmbedding, three_body_cutoff=3.33),
}

for name, build in BACKBONES.items():
    # pytest collects the classes by their names; each inherits every test of the contract.
    globals()[f"Test{name}"] = type(
        f"Test{name}", (BackboneContract,), {"make_backbone": lambda self, build=build: build()}
    )
