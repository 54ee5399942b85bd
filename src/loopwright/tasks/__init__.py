"""Tasks: named units of work with schemas, and the variants that do them. Knows no prompt and no model."""
