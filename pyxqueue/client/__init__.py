"""What an application uses: the queue, its tasks, the handles of calls, and the administration of the queue."""
