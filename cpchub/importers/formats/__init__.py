"""The layouts of checkpoints that are recognised, one file each."""
