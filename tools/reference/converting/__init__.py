"""From others' checkpoints to model files, and the proof that the engine computes what PyTorch does, stage by stage."""
