"""redis-py imports OpenTelemetry wherever it is installed, as it is here for the tests of our plugin. A twelfth of the
time in which a worker starts is that."""

raise ImportError("programs of the tests do without it")
