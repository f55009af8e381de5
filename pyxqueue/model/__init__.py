"""The values that producers, stores and workers exchange, their wire form, and what each event does to a task."""
