"""Studies: a grid of trainings from one YAML file, run here or under SLURM, resumable. Imports no PyTorch."""
