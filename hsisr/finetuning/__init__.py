"""Fine-tuning: adapt a model to one scene, without a sharp reference."""
