"""Checks of a launch before a training: packages, devices, data, memory and disk; used by `dielectric-gnn doctor`."""
