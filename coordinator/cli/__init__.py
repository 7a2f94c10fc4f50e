"""The admin's commands, one module each; `main` puts them together."""
