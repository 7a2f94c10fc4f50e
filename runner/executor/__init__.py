"""The process inside the sandbox: frames on standard input, an engine, frames on standard output."""
