"""The commands, each in a module of its name; `pyxqueue.cli.program` lists them."""
