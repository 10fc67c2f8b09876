"""The PyTorch reference of RADnet: the arithmetic and file format of the model specification, written to be read, not to be fast."""
