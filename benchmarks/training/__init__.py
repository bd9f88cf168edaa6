"""Trainings and training steps: run, counted, timed, weighed and evaluated."""
