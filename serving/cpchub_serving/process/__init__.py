"""What every served process needs: a port, keys, and an end."""
