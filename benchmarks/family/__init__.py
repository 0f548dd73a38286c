"""The table of the family: every method with one network, one protocol and the same processor time."""
