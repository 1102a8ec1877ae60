"""What Lockstitch and its users test with: any model as an OpenAI-compatible endpoint on loopback."""
