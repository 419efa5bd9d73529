"""Targets of the models: energy grid, response, tensors, and the statistics of a training set."""
