"""Training of the copy-detection network: data, augmentation, loss, export and evaluation.

Nothing that serves imports this package; it needs the `training` extra.
"""
