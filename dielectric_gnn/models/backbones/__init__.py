"""Graph neural networks from crystal graphs to atom features, interchangeable by class path."""

from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.backbones.cg import ClebschGordan
from dielectric_gnn.models.backbones.escn import ESCN
from dielectric_gnn.models.backbones.goten import Goten
from dielectric_gnn.models.backbones.optimate import OptiMate
from dielectric_gnn.models.backbones.optimetal2b import OptiMetal2B
from dielectric_gnn.models.backbones.optimetal3b import OptiMetal3B

__all__ = ["ESCN", "AtomFeatures", "Backbone", "ClebschGordan", "Goten", "OptiMate", "OptiMetal2B", "OptiMetal3B"]
