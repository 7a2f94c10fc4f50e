"""The way to the coordinator: joining it, dialling it, and what is kept while it is away."""
