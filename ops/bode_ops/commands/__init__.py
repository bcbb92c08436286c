"""Commands of `bode`, a module for each room of them."""
