"""Files read into text that knows its pages, and cut into pieces that know where they stand. Knows no database."""
