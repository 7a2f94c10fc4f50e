"""The QUIC shell: connections of workers, authenticated and bounded, as `coordinator.links` describes them."""
