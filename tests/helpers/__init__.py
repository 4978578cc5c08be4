"""What tests share: streams, peers, gateways, roads, texts, places and documents."""
