"""A spec made into an encoder: load it, encode with it, write it as a model folder, export it to ONNX."""
