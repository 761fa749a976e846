"""Models, tasks, the training loop, metrics, checkpoints, inference, evaluation and transcription."""
