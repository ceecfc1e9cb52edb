"""From fingerprints to a decision: retrieve, verify, score, decide, report.

The stages never import each other; `service.matcher` passes values from one to the next.
"""
