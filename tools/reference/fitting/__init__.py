"""Training on any labelled data set: settings, batches, the two stages, and what both share."""
