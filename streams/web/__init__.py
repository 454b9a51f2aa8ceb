"""Reading over HTTP: for those who cannot read Redis or Kafka. It holds no state."""
