"""Reports as documents, and what is handed over of them: JSON, a printable page, PDF, signed bundles."""

from service.evidence.bundles import Bundle, Bundler, Scope, Wish
from service.evidence.page import CONTENT_SECURITY_POLICY
from service.evidence.signing import Signer
from service.evidence.stamping import StampAuthority

__all__ = ["CONTENT_SECURITY_POLICY", "Bundle", "Bundler", "Scope", "Signer", "StampAuthority", "Wish"]
