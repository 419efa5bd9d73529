"""Baselines: predictors from composition and structure descriptors, fitted in closed form."""

from dielectric_gnn.models.baselines.base import Baseline
from dielectric_gnn.models.baselines.kernel import CompositionKernel
from dielectric_gnn.models.baselines.simple import MeanSpectrum, NearestMaterial
from dielectric_gnn.models.baselines.structure_kernel import StructureKernel

__all__ = ["Baseline", "CompositionKernel", "MeanSpectrum", "NearestMaterial", "StructureKernel"]
