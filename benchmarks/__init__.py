"""Measurements, one script per question; see README.md. None of them is a test."""
