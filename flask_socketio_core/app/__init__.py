"""Everything Flask: the extension, its contexts, its dispatch, its handlers."""
