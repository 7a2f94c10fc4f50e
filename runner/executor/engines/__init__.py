"""The engines, behind one small Protocol; the only home of torch."""
