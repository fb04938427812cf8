"""What all encoders that run on torch share: checkpoints, preprocessing, the forward pass."""
