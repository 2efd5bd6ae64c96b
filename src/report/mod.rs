//! What is said, and how: the document's model and one file for each form of output.
