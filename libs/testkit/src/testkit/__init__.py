"""Development only: real parts to test against, and faults to test with."""
