"""Baselines: predictors from the composition alone, fitted in closed form."""

from dielectric_gnn.models.baselines.base import Baseline
from dielectric_gnn.models.baselines.kernel import CompositionKernel
from dielectric_gnn.models.baselines.simple import MeanSpectrum, NearestMaterial

__all__ = ["Baseline", "CompositionKernel", "MeanSpectrum", "NearestMaterial"]
