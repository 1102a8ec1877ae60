"""Where runs execute: one narrow protocol, one file per backend."""
