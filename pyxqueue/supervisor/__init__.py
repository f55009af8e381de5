"""The supervisor: it runs worker processes, renews their leases, and does what the queue needs at intervals."""
