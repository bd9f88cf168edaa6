"""From the records to the report: numbers, sentences, tables and plots."""
