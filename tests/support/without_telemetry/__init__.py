"""A folder from which programs of the tests import `opentelemetry`, and learn that it is not installed."""
