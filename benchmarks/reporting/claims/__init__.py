"""What the results say about the claims of the papers."""
