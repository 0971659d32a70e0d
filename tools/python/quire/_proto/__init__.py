"""Messages of proto/generate.proto, written by generate_stubs.sh."""
