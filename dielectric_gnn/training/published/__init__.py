"""Trained weights of the published study (arXiv:2602.05702) as checkpoints of this toolkit."""

from dielectric_gnn.training.published.conversion import convert

__all__ = ["convert"]
