"""The large view of one image, which every tab opens."""
