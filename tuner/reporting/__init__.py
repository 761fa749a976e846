"""The page that shows a sweep: what it holds (`gather`, `hyperparameters`, `examples`) and how it looks (`page`)."""
