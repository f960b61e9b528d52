"""Our HTTP/1.1 client: pooled connections on httptools, with time-outs, back-pressure and no blind repeats."""
