"""Everything durable, behind the verbs of `coordinator.store.base`; the only home of SQL."""
