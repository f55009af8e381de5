"""The contestants: one module each, with a class `Entry` of the shape that `base.Contestant` describes."""
