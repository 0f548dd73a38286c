"""One training run: the loop, its folder, checkpoints, monitors and schedules."""
