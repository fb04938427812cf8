"""Objectives: how training reads, learns, calibrates and evaluates each task."""
