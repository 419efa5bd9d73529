"""What is learnt: energy grid, response, tensors, and the statistics of a training set."""
