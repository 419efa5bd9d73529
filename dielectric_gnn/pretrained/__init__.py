"""Models that are shipped with the package."""

from dielectric_gnn.pretrained.models import INTERVALS, card, checkpoints, load_pretrained, names, read_intervals

__all__ = ["INTERVALS", "card", "checkpoints", "load_pretrained", "names", "read_intervals"]
