"""What a finished training writes and prints: the files of the model, and the summary."""
