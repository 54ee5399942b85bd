"""Files of clients, and batches: many requests in one file, answered within a day at low priority."""
