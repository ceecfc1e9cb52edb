"""Media to fingerprints to neighbours. No database, no network."""
