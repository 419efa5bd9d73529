"""Every shipped backbone keeps the contract."""

from dielectric_gnn.backbones import Backbone, OptiMate, OptiMetal2B
from dielectric_gnn.testing import BackboneContract


class TestOptiMate(BackboneContract):
    def make_backbone(self) -> Backbone:
        return OptiMate()


class TestOptiMetal2B(BackboneContract):
    def make_backbone(self) -> Backbone:
        return OptiMetal2B(width=16)
