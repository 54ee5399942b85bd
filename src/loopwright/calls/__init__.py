"""Every call on record: spooled before its answer ends, drained to Postgres, queried and rolled up."""
