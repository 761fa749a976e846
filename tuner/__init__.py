"""Sweeps, tracking, leaderboard, registry and the command line: the only place for Ray Tune, Optuna and MLflow."""
