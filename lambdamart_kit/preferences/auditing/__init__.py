"""What an audit looks for, one module a kind of finding, and the report of it."""
