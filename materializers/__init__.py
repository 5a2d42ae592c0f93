"""How ZenML stores what our steps return."""
