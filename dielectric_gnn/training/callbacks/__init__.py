"""Callbacks of a training: checkpoints, progress, figures, reports, random states."""
