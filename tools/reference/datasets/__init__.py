"""Labelled head CT behind one interface: what a scan is (`source`), one reader a format, patient-wise splits, the cache at the network's size."""
