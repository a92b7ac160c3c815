"""What is measured beside the scores: recommended bands, land cover, costs."""
