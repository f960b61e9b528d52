"""A package, so that pytest calls it `tests`: as `gateway.tests` it would hide the package under test."""
