"""What the stages share that run foundation models: devices, memory, SAM itself."""
