"""Copyhound's client: register works, ask for copies."""
