"""From the bytes of a file to the chunks of text that a vector store keeps."""
