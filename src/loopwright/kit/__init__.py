"""Mechanics with no opinion about models: settings, database, jobs, blobs, plug-ins, HTTP client, wire formats."""
