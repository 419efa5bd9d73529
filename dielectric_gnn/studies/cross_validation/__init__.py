"""Cross-validation: folds without a common formula, predictions out of fold, and their statistics."""
