"""What an application holds: the queue, its tasks, the handles of calls, and their administration."""
