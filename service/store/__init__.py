"""The source of truth: works, fingerprints, keys, imports and remembered answers, in SQLite or PostgreSQL."""

from service.store.store import RemovalsForgottenError, Store
from service.store.transaction import Transaction
from service.store.view import View

__all__ = ["RemovalsForgottenError", "Store", "Transaction", "View"]
