"""Plans, checkout, PIX, subscriptions, invoices and payments, over Stripe, Asaas and PagBank."""
