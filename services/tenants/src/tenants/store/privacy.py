"""SQL over privacy requests, reports and consents."""
