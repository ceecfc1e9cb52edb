"""Composition: the only place that knows all the parts."""
