"""What `compute_metals.py` is made of; needs ASE and GPAW, and nothing of the package."""
