"""The commands, one module each. `pyxqueue.cli.program` lists them."""
