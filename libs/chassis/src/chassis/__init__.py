"""What every service boots with."""
