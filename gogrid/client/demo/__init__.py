"""`gogrid demo`: the whole product on one machine, with real models, in a folder that disappears afterwards."""
