"""Heads: from pooled features of materials to optical responses, interchangeable by class path."""

from dielectric_gnn.models.heads.base import Head
from dielectric_gnn.models.heads.free_form import FreeFormHead
from dielectric_gnn.models.heads.free_form_tensor import FreeFormTensorHead
from dielectric_gnn.models.heads.low_rank import LowRankHead
from dielectric_gnn.models.heads.oscillator import OscillatorHead
from dielectric_gnn.models.heads.oscillator_tensor import OscillatorTensorHead

__all__ = ["FreeFormHead", "FreeFormTensorHead", "Head", "LowRankHead", "OscillatorHead", "OscillatorTensorHead"]
