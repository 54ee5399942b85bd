"""What must not leave the house, and what is not fit to be said: personal data, placeholders, moderation."""
