"""Bricks shared by backbones and heads: embeddings, radial bases, MLPs, message passing, norms and pooling."""
