"""SQL that reads what the edge needs to know, all of it at one moment."""
