"""Plugins for other libraries, one module each. Nothing else imports them; each needs an extra of its name."""
