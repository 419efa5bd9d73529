"""The Lightning module, objectives, schedules, checkpoints, and what happens around a training."""
