"""Schedules: when they tick, the rules about them, the programs that tick them."""
