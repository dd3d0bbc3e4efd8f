"""The rules of PatchProof as pure functions and values: no network, no storage, no clock."""
