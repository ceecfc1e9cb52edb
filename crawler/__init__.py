"""Monitoring lists to suspect media. Knows URLs, nothing of fingerprints.

The package is empty until monitoring lists exist; the import contracts already hold its place.
"""
