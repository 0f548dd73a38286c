"""The data that a run trains on: in memory or streamed, images, sounds or aligned modalities."""

from cpchub_training.data.images import Images, TrainingSet
from cpchub_training.data.known import digits
from cpchub_training.data.loading import in_memory, load, open_data, own_images, title
from cpchub_training.recipes.places import HAVE_TEST_PART

__all__ = [
    "HAVE_TEST_PART",
    "Images",
    "TrainingSet",
    "digits",
    "in_memory",
    "load",
    "open_data",
    "own_images",
    "title",
]
