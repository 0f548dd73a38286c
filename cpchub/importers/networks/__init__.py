"""Which network a set of tensors belongs to, and under which names timm has them."""
