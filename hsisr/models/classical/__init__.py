"""Methods without training, numpy in and out: (lr, guide, scale) -> (bands, H, W)."""
