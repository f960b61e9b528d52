"""Who somebody is and what they may: decisions without IO; the present is an argument."""
