"""``python -m pyxqueue`` runs the ``pyxqueue`` command."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="pyxqueue")
