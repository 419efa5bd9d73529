"""Studies: a grid of trainings from one YAML file, executed locally or as SLURM jobs, and their run records.

Only `callback`, `run_description` and `flops` import PyTorch.
"""
