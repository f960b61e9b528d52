"""Plans, money owed and money paid: decisions without IO; the present is an argument."""
