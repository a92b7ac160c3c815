"""Measures beside the scores: recommended bands, land cover, costs."""
