"""From pooled crystal features to optical responses, interchangeable by class path."""

from dielectric_gnn.heads.base import Head
from dielectric_gnn.heads.free_form import FreeFormHead
from dielectric_gnn.heads.free_form_tensor import FreeFormTensorHead

__all__ = ["FreeFormHead", "FreeFormTensorHead", "Head"]
