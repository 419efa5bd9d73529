"""Plain layers that read as the published formulas: embeddings, MLPs, message passing, norms, poolings and others."""
