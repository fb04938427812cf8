"""Training steps and validation on a device; on a GPU with few launches and few waits."""
