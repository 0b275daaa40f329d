"""What speaks WhatsApp. An engine knows neither the bus nor other sessions: it gets calls and reports what it sees."""
