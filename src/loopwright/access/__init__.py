"""Who may do what: projects and keys. Secrets are kept as hashes only."""
