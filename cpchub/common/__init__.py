"""What every room uses: files that appear whole, hashes, progress, optional packages, plurals."""
