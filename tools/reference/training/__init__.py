"""Training of the demo model: data, augmentation, losses, evaluation."""
