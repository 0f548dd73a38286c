"""From the bytes of a checkpoint to named tensors. Nothing in such a file is executed."""
