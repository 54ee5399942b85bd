"""Collections of documents: taken in, indexed, searched, measured."""
