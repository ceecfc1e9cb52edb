"""Review: people decide what reports are. The pages and the API share these rules."""

from service.review.desk import Desk

__all__ = ["Desk"]
