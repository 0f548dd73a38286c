"""What every served process needs: a port, and an end."""
