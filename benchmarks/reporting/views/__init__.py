"""Questions that plots, tables and findings ask of the records."""
