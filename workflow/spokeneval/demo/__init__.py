"""What the embedded default needs: fetching its recordings and networks, and training its small models."""
