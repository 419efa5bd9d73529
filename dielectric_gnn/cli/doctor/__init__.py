"""A preflight: is everything that a training needs there, and will it fit? The checks behind tools/doctor.py."""
