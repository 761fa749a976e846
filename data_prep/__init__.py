"""Corpora, the signal front end, targets, shards, the renderer and the preparation job."""
