"""What tests share: servers that say what they are told, proxies, workers, and ways to wait."""
