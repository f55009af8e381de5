"""The Redis backend beyond the laws: faults and foreign data that only Redis can have."""
