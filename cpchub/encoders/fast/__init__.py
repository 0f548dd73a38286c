"""An encoder prepared for many images: the fastest path that gives the same vectors."""
