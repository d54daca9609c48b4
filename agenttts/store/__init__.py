"""Every draw ever paid for, on disk or in memory. `agenttts.store.sql.open_store` opens a store by its URL."""
