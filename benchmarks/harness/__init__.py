"""Measuring: command lines, numbers of threads, timing, and the files that hold the results."""
