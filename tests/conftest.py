"""How hypothesis searches: without deadlines, since machines differ; deterministic where CI is set."""

import os

from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.register_profile("fuzz", deadline=None, max_examples=5_000)
settings.load_profile("house")
