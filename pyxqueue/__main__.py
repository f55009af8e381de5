"""``python -m pyxqueue`` is ``pyxqueue``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="pyxqueue")
