"""What lies in a store, looked at from outside: no cluster is asked."""
