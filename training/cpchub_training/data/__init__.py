"""The data that a run trains on: in memory or streamed, images, sounds or aligned modalities."""

from cpchub_training.data.known import HAVE_TEST_PART, digits
from cpchub_training.data.loading import in_memory, load, open_data, own_pictures, title
from cpchub_training.data.pictures import Pictures, TrainingSet

__all__ = [
    "HAVE_TEST_PART",
    "Pictures",
    "TrainingSet",
    "digits",
    "in_memory",
    "load",
    "open_data",
    "own_pictures",
    "title",
]
