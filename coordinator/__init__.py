"""The coordinator: takes requests, places them on workers, keeps every promise about them."""
