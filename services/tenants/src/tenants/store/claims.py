"""SQL over payment_claims and the sessions that they used up."""
