"""Graph neural networks from crystal graphs to atom features, interchangeable by class path."""

from dielectric_gnn.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.backbones.optimate import OptiMate
from dielectric_gnn.backbones.optimetal2b import OptiMetal2B

__all__ = ["AtomFeatures", "Backbone", "OptiMate", "OptiMetal2B"]
