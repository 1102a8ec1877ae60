"""Finding what stands in the files of a vector store."""
