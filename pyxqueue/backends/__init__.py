"""One module or package for each kind of store. They know nothing of each other, and the core looks them up by URL
scheme."""
