"""What travels between producers, stores and workers: values, their wire form, and what an event does to a task."""
