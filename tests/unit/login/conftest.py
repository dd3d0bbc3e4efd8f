"""When the tests on public vectors run."""

import os

# The public vectors are large and lie outside of the project: named, they run; else they are not
# part of the collection at all.
collect_ignore = [] if os.environ.get("PATCHPROOF_VECTORS") else ["test_public_vectors.py"]
