"""UVRB: its 16 datasets as metadata (`datasets`), and a rendered mirror of each from the procedural world (`build`)."""
