"""What is trained, in plain values: networks with their inputs and their training."""
