"""Fine-tuning: a model adapted to one scene, without a sharp reference."""
