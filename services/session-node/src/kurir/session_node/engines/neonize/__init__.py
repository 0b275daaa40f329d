"""The engine on the neonize library (whatsmeow in Go). Nothing outside of this folder imports neonize."""
