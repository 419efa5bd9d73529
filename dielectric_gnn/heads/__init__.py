"""From pooled crystal features to optical responses, interchangeable by class path."""

from dielectric_gnn.heads.base import Head
from dielectric_gnn.heads.free_form import FreeFormHead

__all__ = ["FreeFormHead", "Head"]
