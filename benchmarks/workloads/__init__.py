"""What is computed on: sites of made-up scenes, data sets."""
