"""Random views: of a whole batch on the device, image by image from encoded files, and of patches."""
