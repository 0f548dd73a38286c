"""Find, fetch, verify and publish the files of an encoder, and write its model card."""
