"""From the compressed bytes of samples to numpy pixels."""
