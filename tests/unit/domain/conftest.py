"""What the tests of the rules share."""

import os

# The public vectors lie outside of the project: named, they run; else they are not collected.
collect_ignore = [] if os.environ.get("PATCHPROOF_VECTORS") else ["test_public_vectors.py"]
