"""Measurements and proofs on real parts; nothing here ships with the product."""
