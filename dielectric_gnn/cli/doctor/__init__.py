"""Checks of a launch: is everything that a training needs there, and will it fit? Used by `dielectric-gnn doctor`."""
