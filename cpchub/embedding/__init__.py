"""From images to a collection: what changed, shards, worker processes, unfinished work, the final write."""
