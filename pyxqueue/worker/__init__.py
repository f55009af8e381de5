"""Workers: they claim deliveries, run the tasks and settle the outcomes."""
