"""Proofs: a law is a law (identities), and none is missing (rank of the Lie algebra); the certificate of both."""
