"""The model cache: blobs by hash, verified, evicted by a disk cap."""
