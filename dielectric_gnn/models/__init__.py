"""Graph neural networks: backbones, heads, and the layers they are built of."""
