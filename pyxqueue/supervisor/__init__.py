"""The supervisor: worker processes, their leases and the duties of a queue that no worker has the time for."""
